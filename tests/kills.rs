//! A pass that is killed at any instant: the kill matrix (`tests/kill_matrix.rs`) in small.

use crate::host::Manager;
use crate::host::kill::{self, Cut};

#[test]
fn apt_is_killed_at_any_instant() {
    assert_eq!(kill::sweep(Manager::Apt, 8, &[Cut::Rename(6)]), 0, "see what is printed above");
}

#[test]
fn yum_is_killed_at_any_instant() {
    assert_eq!(kill::sweep(Manager::Yum, 4, &[Cut::Rename(4)]), 0, "see what is printed above");
}

#[test]
fn dnf5_is_killed_at_any_instant() {
    assert_eq!(kill::sweep(Manager::Dnf5, 4, &[Cut::Rename(4)]), 0, "see what is printed above");
}

#[test]
fn zypper_is_killed_at_any_instant() {
    assert_eq!(kill::sweep(Manager::Zypper, 4, &[Cut::Rename(4)]), 0, "see what is printed above");
}
