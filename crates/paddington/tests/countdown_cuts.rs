//! A countdown over a connection that is cut again and again.

use std::time::Duration;

use paddington_test_support::count_down;

const COUNT: u32 = 300;
const CUTS: usize = 30;

#[tokio::test]
async fn each_side_receives_every_number_once_although_the_connection_is_cut() {
    let mut turn = 0;
    let counted = count_down(COUNT, CUTS, || {
        turn += 1;
        Duration::from_micros(turn * 997 % 7000)
    });
    let counted = counted.await;
    let expected: Vec<_> = (0..=COUNT).rev().collect();
    assert_eq!(counted.heard[0], expected, "at the server");
    assert_eq!(counted.heard[1], expected, "at the client");
    assert_eq!(counted.blasts, 1);
    assert!(counted.conserved);
    assert!(counted.cut >= CUTS, "{} cuts", counted.cut);
    assert!(counted.connections >= CUTS, "{} connections", counted.connections);
}
