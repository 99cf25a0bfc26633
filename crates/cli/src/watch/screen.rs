//! The full screen: the service, its peers, and what has happened.

use std::io;

use crossterm::event::{Event, EventStream, KeyCode, KeyEventKind, KeyModifiers};
use futures_util::StreamExt;
use paddington_admin::client::Client;
use paddington_admin::model::{Peer, State, Status};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table, TableState};
use ratatui::{DefaultTerminal, Frame};

use super::update::Update;
use crate::failure::{Exit, Failure};
use crate::view;

/// The content of the screen.
struct Screen {
    status: Status,
    chosen: TableState,
}

pub(super) async fn run(mut client: Client) -> Result<(), Failure> {
    let status: Status = client.get("/v1/status").await?;
    let mut screen = Screen { status, chosen: TableState::default() };
    let mut terminal = ratatui::init();
    let ended = follow(&mut screen, &mut terminal, client).await;
    ratatui::restore();
    ended
}

async fn follow(
    screen: &mut Screen,
    terminal: &mut DefaultTerminal,
    client: Client,
) -> Result<(), Failure> {
    let mut updates = client.events("/v1/status/stream").await?;
    let mut keys = EventStream::new();
    loop {
        terminal.draw(|frame| screen.draw(frame)).map_err(|error| no_screen(&error))?;
        tokio::select! {
            update = updates.next() => match update? {
                None => return Err(Failure::new(Exit::NoService, "the service has ended")),
                Some(event) => {
                    if let Some(update) = Update::read(&event.name, &event.data)? {
                        update.apply(&mut screen.status);
                    }
                }
            },
            key = keys.next() => match key {
                Some(Ok(event)) if screen.ends_with(&event) => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(no_screen(&error)),
                None => return Ok(()),
            },
        }
    }
}

fn no_screen(error: &io::Error) -> Failure {
    Failure::new(Exit::No, format!("the terminal cannot be used: {error}"))
}

impl Screen {
    /// Takes what a person does, and returns whether that is the end.
    fn ends_with(&mut self, event: &Event) -> bool {
        let Event::Key(key) = event else { return false };
        if key.kind == KeyEventKind::Release {
            return false;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return true,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
            KeyCode::Down | KeyCode::Char('j') => self.chosen.select_next(),
            KeyCode::Up | KeyCode::Char('k') => self.chosen.select_previous(),
            _ => {}
        }
        false
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        let events = u16::try_from(self.status.events.len().min(8)).unwrap_or(8) + 1;
        let parts = Layout::vertical([
            Constraint::Length(2),
            Constraint::Min(3),
            Constraint::Length(events),
            Constraint::Length(1),
        ]);
        let [head, peers, happened, foot] = parts.areas(frame.area());
        frame.render_widget(self.head(), head);
        self.draw_peers(frame, peers);
        frame.render_widget(self.events(usize::from(events)), happened);
        let words = "q ends this   ↑ ↓ choose a peer";
        frame.render_widget(Line::styled(words, Style::new().add_modifier(Modifier::DIM)), foot);
    }

    fn head(&self) -> Paragraph<'_> {
        let service = &self.status.service;
        let listening = service.listening.as_deref().unwrap_or("nowhere");
        let title = format!(
            " {}, listening on {listening}, runs since {}",
            service.software,
            view::moment(&service.started)
        );
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let first = Line::from(vec![Span::styled(service.name.as_str(), bold), Span::raw(title)]);
        let second = if self.status.ready.ready {
            Line::styled("ready", Style::new().fg(Color::Green))
        } else {
            let reasons = self.status.ready.reasons.join("; ");
            Line::styled(format!("not ready: {reasons}"), Style::new().fg(Color::Red))
        };
        Paragraph::new(vec![first, second])
    }

    fn draw_peers(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let head = ["PEER", "STATE", "ADDRESS", "ROUND TRIP", "WAITING", "KEYS", "LAST ERROR"];
        let state = if self.status.service.replica.is_some() { 20 } else { 9 };
        let widths = [
            Constraint::Min(10),
            Constraint::Length(state),
            Constraint::Length(21),
            Constraint::Length(10),
            Constraint::Min(20),
            Constraint::Min(30),
            Constraint::Fill(1),
        ];
        let table = Table::new(self.status.peers.iter().map(row), widths)
            .header(Row::new(head).style(Style::new().add_modifier(Modifier::DIM)))
            .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
        frame.render_stateful_widget(table, area, &mut self.chosen);
    }

    fn events(&self, lines: usize) -> Paragraph<'_> {
        let events = self.status.events.iter().rev().take(lines.saturating_sub(1));
        let lines: Vec<_> = events
            .map(|event| Line::from(format!("{}  {}", view::moment(&event.at), event.text)))
            .collect();
        Paragraph::new(lines).block(Block::new().borders(Borders::TOP).title("last events"))
    }
}

fn row(peer: &Peer) -> Row<'_> {
    let (word, colour) = match peer.state {
        State::Connected => ("connected".to_owned(), Color::Green),
        State::Away => (view::away(peer), Color::Yellow),
    };
    let error = peer.last_error.as_ref().filter(|_| peer.state == State::Away);
    Row::new([
        Cell::from(peer.name.as_str()),
        Cell::from(word).style(Style::new().fg(colour)),
        Cell::from(peer.address.as_deref().unwrap_or("-")),
        Cell::from(peer.round_trip_seconds.map_or("-".to_owned(), view::seconds)),
        Cell::from(view::waiting(&peer.outbox)),
        Cell::from(view::keys(&peer.keys, peer.role)),
        Cell::from(error.map(|error| error.text.as_str()).unwrap_or_default()),
    ])
}
