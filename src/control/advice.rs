//! What an operator should do about what a daemon says of itself.

use std::time::Duration;

use super::Status;

/// A file that waits longer than this to be sealed means that sealing does not keep up.
const LAG_MAX: Duration = Duration::from_secs(600);

/// What to do, most urgent first; nothing when all is well.
pub fn advice(status: &Status) -> Vec<String> {
    let Status { store, sealing, pressure, scrub, .. } = status;
    let mut todo = Vec::new();
    if status.health != "ok" {
        todo.push(format!(
            "no more writes are taken: look at the disk of {store}, unmount, then mount again; saves fail until then"
        ));
    }
    if scrub.damaged.max(scrub.last_damaged) > 0 {
        todo.push(format!(
            "stored bytes are damaged: name what is lost with: ckptfs check --read-data {store}; save it again while it \
             is still in the tree"
        ));
    }
    if let Some(why) = &pressure.gave_up_because {
        todo.push(format!("the disk of {store} is full and nothing more can go ({why}): make room on it"));
    } else if pressure.active {
        todo.push(format!(
            "the disk of {store} runs full and versions go for it: make room, or keep fewer with: ckptfs policy set \
             max_to_keep=N"
        ));
    }
    if sealing.lag_seconds > LAG_MAX.as_secs() {
        todo.push(format!(
            "sealing does not keep up, the oldest file waits for {} minutes: mount with more threads (-o threads=N)",
            sealing.lag_seconds / 60
        ));
    }
    if !status.last_errors.is_empty() {
        todo.push(format!("errors have occurred: see them below and in {store}/ckptfs.log"));
    }
    todo
}

#[cfg(test)]
mod tests {
    use super::super::status::{LastError, PressureStatus, ScrubStatus, Sealing};
    use super::*;

    fn well() -> Status {
        Status { health: "ok".into(), store: "/s".into(), ..Status::default() }
    }

    #[test]
    fn whoever_is_well_has_nothing_to_do_and_every_trouble_has_its_cure() {
        assert!(advice(&well()).is_empty());
        let busy = Sealing { queued_files: 9, lag_seconds: 30, ..Sealing::default() };
        assert!(advice(&Status { sealing: busy, ..well() }).is_empty(), "that is work, not trouble");
        let pressure = PressureStatus { active: true, ..PressureStatus::default() };
        let full = PressureStatus { gave_up_because: Some("all is pinned".into()), ..pressure.clone() };
        for (status, cure) in [
            (Status { health: "read-only: EIO".into(), ..well() }, "mount again"),
            (
                Status { scrub: ScrubStatus { last_damaged: 1, ..ScrubStatus::default() }, ..well() },
                "check --read-data /s",
            ),
            (Status { pressure, ..well() }, "policy set"),
            (Status { pressure: full, ..well() }, "all is pinned"),
            (
                Status { sealing: Sealing { lag_seconds: 1200, ..Sealing::default() }, ..well() },
                "for 20 minutes",
            ),
            (Status { last_errors: vec![LastError::default()], ..well() }, "/s/ckptfs.log"),
        ] {
            let said = advice(&status);
            assert!(said.len() == 1 && said[0].contains(cure), "{cure}: {said:?}");
        }
    }
}
