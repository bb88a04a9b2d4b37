//! A run that is killed at any instant: the kill matrix (`tests/kill_matrix.rs`) in small.

use host::Manager;
use host::kill::{self, Cut, Layout};

#[test]
fn apt_is_killed_at_any_instant() {
    assert_eq!(
        kill::sweep(Manager::Apt, Layout::Files, 8, &[Cut::Rename(6)]),
        0,
        "see what is printed above"
    );
}

#[test]
fn yum_is_killed_at_any_instant() {
    assert_eq!(
        kill::sweep(Manager::Yum, Layout::Files, 4, &[Cut::Rename(4)]),
        0,
        "see what is printed above"
    );
}

#[test]
fn dnf5_is_killed_at_any_instant() {
    assert_eq!(
        kill::sweep(Manager::Dnf5, Layout::Files, 4, &[Cut::Rename(4)]),
        0,
        "see what is printed above"
    );
}

#[test]
fn zypper_is_killed_at_any_instant() {
    assert_eq!(
        kill::sweep(Manager::Zypper, Layout::Files, 4, &[Cut::Rename(4)]),
        0,
        "see what is printed above"
    );
}

#[test]
fn the_step_to_linked_files_is_killed_at_any_instant() {
    assert_eq!(
        kill::sweep(Manager::Apt, Layout::ToLinks, 4, &[Cut::Rename(6)]),
        0,
        "see what is printed above"
    );
    assert_eq!(
        kill::sweep(Manager::Yum, Layout::ToLinks, 4, &[Cut::Rename(3)]),
        0,
        "see what is printed above"
    );
}

#[test]
fn an_upgrade_of_linked_files_is_killed_at_any_instant() {
    assert_eq!(
        kill::sweep(Manager::Apt, Layout::Links, 4, &[Cut::Rename(6)]),
        0,
        "see what is printed above"
    );
    assert_eq!(
        kill::sweep(Manager::Zypper, Layout::Links, 4, &[]),
        0,
        "see what is printed above"
    );
}
