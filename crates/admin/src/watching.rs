//! The task that follows a service while the API runs.

use std::sync::Arc;

use paddington::Event;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::feed::Seen;
use crate::view;

/// Follows the events of the service and where required peers are, and tells streams what changes, until the API ends.
pub(crate) fn spawn(app: &Arc<App>, tasks: &TaskTracker) {
    let events = app.service.exchange().events();
    let app = Arc::clone(app);
    tasks.spawn(async move {
        let note = |event: &Event| app.note(event);
        let orphans = || {
            let app = Arc::clone(&app);
            async move { view::orphans(&app).await.ok() }
        };
        let owners = || {
            let app = Arc::clone(&app);
            async move { drop(app.owners.ask(app.service.exchange()).await) }
        };
        let work = async {
            let follow = app.history.follow(events, note);
            tokio::join!(
                follow,
                app.feed.run(|| look(&app), orphans, owners),
                app.follow_required()
            )
        };
        app.stop.run_until_cancelled(work).await;
    });
}

/// Looks at the service.
fn look(app: &App) -> Seen {
    let statuses = app.service.peers();
    Seen {
        ready: app.ready(&statuses),
        peers: view::peers(app, statuses, &app.owners.get()),
        refusals: view::refusals(app),
    }
}
