//! The scores as they are without configuration: the tables of `docs/numbers.md`.

use super::config::{ChurnInput, InputConfig, ScoresConfig};

impl Default for ScoresConfig {
    fn default() -> Self {
        ScoresConfig {
            ttv: vec![
                input("ttv_days", 1.0, &[(14.0, 100.0), (28.0, 50.0), (56.0, 0.0)]),
                // Waiting is never as good as having it.
                input(
                    "ttv_running_days",
                    1.0,
                    &[(21.0, 75.0), (28.0, 50.0), (56.0, 0.0)],
                ),
                input(
                    "onboarding_state",
                    0.5,
                    &[(0.0, 100.0), (1.0, 90.0), (2.0, 40.0), (3.0, 0.0)],
                ),
            ],
            activity: activity(),
            adoption: vec![
                input("feature_breadth", 0.5, &[(0.0, 0.0), (1.0, 100.0)]),
                input("feature_depth", 0.5, &[(0.0, 0.0), (20.0, 100.0)]),
            ],
            sentiment: vec![
                input("nps", 0.6, &[(-100.0, 0.0), (0.0, 50.0), (50.0, 100.0)]),
                input("csat", 0.4, &[(1.0, 0.0), (3.0, 50.0), (4.5, 100.0)]),
            ],
            support: vec![
                input(
                    "open_ticket_age_days",
                    0.6,
                    &[(0.0, 100.0), (2.0, 90.0), (7.0, 50.0), (30.0, 0.0)],
                ),
                input("open_escalations", 0.4, &[(0.0, 100.0), (1.0, 30.0), (2.0, 0.0)]),
            ],
            expansion: expansion(),
            churn_base: -3.892,
            churn: churn(),
        }
    }
}

fn activity() -> Vec<InputConfig> {
    vec![
        input(
            "workdays_since_last_active",
            0.25,
            &[(0.0, 100.0), (1.0, 90.0), (5.0, 40.0), (12.0, 0.0)],
        ),
        input(
            "usage_trend",
            0.25,
            &[(0.0, 0.0), (0.5, 20.0), (0.8, 50.0), (1.0, 80.0), (1.2, 100.0)],
        ),
        input(
            "active_users_trend",
            0.15,
            &[(0.5, 0.0), (0.8, 40.0), (0.95, 80.0), (1.1, 100.0)],
        ),
        input("logins_per_user_28d", 0.15, &[(0.0, 0.0), (10.0, 100.0)]),
        input(
            "seat_utilisation",
            0.15,
            &[(0.0, 0.0), (0.1, 25.0), (0.5, 60.0), (0.75, 100.0)],
        ),
        input(
            "relative_stickiness",
            0.05,
            &[(0.0, 0.0), (0.5, 40.0), (1.0, 80.0), (1.5, 100.0)],
        ),
    ]
}

fn expansion() -> Vec<InputConfig> {
    vec![
        input(
            "seat_utilisation",
            0.35,
            &[(0.5, 0.0), (0.75, 40.0), (0.9, 80.0), (1.0, 100.0)],
        ),
        input(
            "active_users_trend",
            0.2,
            &[(1.0, 0.0), (1.2, 50.0), (1.6, 100.0)],
        ),
        input("usage_trend", 0.15, &[(1.0, 0.0), (1.5, 100.0)]),
        input("top_user_share", 0.1, &[(0.4, 0.0), (0.8, 100.0)]),
        input("feature_breadth", 0.1, &[(0.4, 0.0), (0.9, 100.0)]),
        input("nps", 0.1, &[(0.0, 0.0), (50.0, 100.0)]),
    ]
}

fn churn() -> Vec<ChurnInput> {
    let input = |number: &str, curve: &[(f64, f64)]| ChurnInput {
        number: number.to_string(),
        curve: curve.to_vec(),
    };
    vec![
        input(
            "workdays_since_last_active",
            &[(0.0, -0.3), (2.0, 0.0), (5.0, 0.5), (10.0, 1.3), (25.0, 3.3)],
        ),
        input(
            "usage_trend",
            &[
                (0.1, 3.2),
                (0.25, 1.94),
                (0.5, 0.97),
                (0.8, 0.31),
                (1.0, 0.0),
                (1.5, -0.57),
                (2.0, -0.97),
            ],
        ),
        input(
            "logins_week_ratio",
            &[(0.1, 1.15), (0.5, 0.35), (1.0, 0.0), (2.0, -0.35)],
        ),
        input("usage_z", &[(-4.0, 0.6), (-2.0, 0.3), (0.0, 0.0)]),
        input(
            "active_users_trend",
            &[(0.5, 0.8), (0.8, 0.3), (1.0, 0.0), (1.3, -0.2)],
        ),
        input("seat_utilisation", &[(0.1, 0.5), (0.5, 0.1), (0.75, -0.2)]),
        input("feature_breadth", &[(0.0, 0.75), (0.5, 0.0), (1.0, -0.75)]),
        input("ttv_running_days", &[(14.0, 0.0), (74.0, 1.8)]),
        input("onboarding_state", &[(2.0, 0.0), (3.0, 0.5)]),
        input("open_ticket_age_days", &[(0.0, 0.0), (30.0, 1.2)]),
        input("open_escalations", &[(0.0, 0.0), (1.0, 0.5), (3.0, 1.0)]),
        input("nps", &[(-100.0, 0.8), (0.0, 0.2), (50.0, -0.4)]),
        input("champion_days_silent", &[(14.0, 0.0), (45.0, 0.7)]),
        input("champions_removed_28d", &[(0.0, 0.0), (1.0, 0.7)]),
        input("days_to_renewal", &[(0.0, 0.4), (60.0, 0.2), (120.0, 0.0)]),
        input("downgrades_28d", &[(0.0, 0.0), (1.0, 0.6)]),
        input("errors_trend", &[(1.0, 0.0), (3.0, 0.4)]),
    ]
}

fn input(number: &str, weight: f64, curve: &[(f64, f64)]) -> InputConfig {
    InputConfig {
        number: number.to_string(),
        weight,
        curve: curve.to_vec(),
    }
}
