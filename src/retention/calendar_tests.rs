//! Plans computed by hand: calendars and every n hours. How they are written is said in `plan_tests`.

use super::plan_tests::check;

#[test]
fn by_calendar() {
    check(&[
        (
            "hours without a version do not count",
            &["1@10h10m", "2@10h50m", "3@11h5m", "4@11h59m59s", "5@13h"],
            "max_to_keep=1 keep_hourly=2",
            "90d",
            &["4: hourly", "5: newest 1 of 1, hourly, newest complete"],
        ),
        (
            "fewer hours than asked for: the oldest stays too",
            &["1@10h10m", "2@10h30m", "3@10h50m", "4@13h"],
            "max_to_keep=1 keep_hourly=3",
            "90d",
            &["1: hourly", "3: hourly", "4: newest 1 of 1, hourly, newest complete"],
        ),
        (
            "days end at midnight UTC",
            &[
                "1@2026-01-31T12:00:00Z",
                "2@2026-01-31T23:59:59Z",
                "3@2026-02-01T00:00:00Z",
                "4@2026-02-01T12:00:00Z",
            ],
            "max_to_keep=1 keep_daily=2",
            "2026-03-01T00:00:00Z",
            &["2: daily", "4: newest 1 of 1, daily, newest complete"],
        ),
        (
            "a week runs from Monday over the new year to Sunday",
            &[
                "1@2024-12-28T00:00:00Z",
                "2@2024-12-29T23:59:59Z",
                "3@2024-12-30T00:00:00Z",
                "4@2025-01-05T23:59:59Z",
            ],
            "max_to_keep=1 keep_weekly=2",
            "2025-01-05T23:59:59Z",
            &["2: weekly", "4: newest 1 of 1, weekly, newest complete"],
        ),
        (
            "months, a leap day in between",
            &[
                "1@2024-01-31T00:00:00Z",
                "2@2024-02-01T00:00:00Z",
                "3@2024-02-29T23:59:59Z",
                "4@2024-03-01T00:00:00Z",
            ],
            "max_to_keep=1 keep_monthly=2",
            "2026-01-01T00:00:00Z",
            &["3: monthly", "4: newest 1 of 1, monthly, newest complete"],
        ),
        (
            "years; the oldest has no place left",
            &[
                "1@2023-06-01T00:00:00Z",
                "2@2024-12-31T23:59:59Z",
                "3@2025-01-01T00:00:00Z",
                "4@2026-01-01T00:00:00Z",
            ],
            "max_to_keep=1 keep_yearly=3",
            "2026-01-01T00:00:00Z",
            &["2: yearly", "3: yearly", "4: newest 1 of 1, yearly, newest complete"],
        ),
        (
            "each calendar counts by itself",
            &["1@2025-12-31T08:00:00Z", "2@2026-01-01T07:00:00Z", "3@2026-01-01T08:00:00Z"],
            "max_to_keep=1 keep_hourly=1 keep_daily=2 keep_weekly=1 keep_monthly=1 keep_yearly=2",
            "2026-01-01T08:00:00Z",
            &[
                "1: daily, yearly",
                "3: newest 1 of 1, hourly, daily, weekly, monthly, yearly, newest complete",
            ],
        ),
    ]);
}

#[test]
fn every_n_hours() {
    check(&[
        (
            "two hours after the last so kept, and not one",
            &["1@0h forever", "2@1h", "3@2h", "4@3h", "5@4h"],
            "max_to_keep=2 keep_checkpoint_every_n_hours=2",
            "4h",
            &[
                "1: every n hours",
                "3*: every n hours",
                "4: newest 2 of 2",
                "5: newest 1 of 2, newest complete",
            ],
        ),
        (
            "the next counts from the one kept just before",
            &["1@0h forever", "2@1h", "3@2h30m", "4@4h", "5@4h30m", "6@5h"],
            "max_to_keep=1 keep_checkpoint_every_n_hours=2",
            "5h",
            &[
                "1: every n hours",
                "3*: every n hours",
                "5*: every n hours",
                "6: newest 1 of 1, newest complete",
            ],
        ),
        (
            "the first stays while the clock counts from it",
            &["1@0h", "2@30m", "3@1h", "4@1h30m"],
            "max_to_keep=2 keep_checkpoint_every_n_hours=2",
            "90d",
            &["1: every n hours", "3: newest 2 of 2", "4: newest 1 of 2, newest complete"],
        ),
        (
            "and goes when another is kept for ever",
            &["1@0h", "2@1h", "3@2h", "4@3h"],
            "max_to_keep=1 keep_checkpoint_every_n_hours=2",
            "3h",
            &["3*: every n hours", "4: newest 1 of 1, newest complete"],
        ),
        (
            "what was kept for ever stays when the rule is off",
            &["1@0h forever", "2@9h", "3@18h"],
            "max_to_keep=1",
            "90d",
            &["1: every n hours", "3: newest 1 of 1, newest complete"],
        ),
        (
            "without a limit nothing leaves, so nothing is newly kept",
            &["1@0h", "2@9h"],
            "max_to_keep=0 keep_checkpoint_every_n_hours=1",
            "9h",
            &["1: newest 2 of all", "2: newest 1 of all, newest complete"],
        ),
        (
            "another rule neither takes its turn nor gives it",
            &["1@0h forever", "2@1h tag", "3@2h tag", "4@3h"],
            "max_to_keep=1 keep_checkpoint_every_n_hours=2",
            "3h",
            &["1: every n hours", "2: tag", "3*: every n hours, tag", "4: newest 1 of 1, newest complete"],
        ),
        (
            "incomplete ones are never kept for ever",
            &["1@0h forever", "2@2h bad", "3@3h", "4@4h"],
            "max_to_keep=1 keep_checkpoint_every_n_hours=2",
            "90d",
            &["1: every n hours", "3*: every n hours", "4: newest 1 of 1, newest complete"],
        ),
    ]);
}
