use super::*;
use crate::config::HealthConfig;

fn refused(change: impl FnOnce(&mut HealthConfig)) -> String {
    let mut config = HealthConfig::default();
    change(&mut config);
    Model::new(config).unwrap_err().to_string()
}

#[test]
fn a_number_that_there_is_none_of_is_refused_with_the_nearest_name() {
    let error = refused(|config| config.scores.activity[2].number = "active_user_trend".into());
    assert_eq!(
        error,
        "health.scores.activity[2].number: \"active_user_trend\" is not a number of account_metrics; \
         the nearest name is \"active_users_trend\""
    );
    let error = refused(|config| config.scores.churn[0].number = "workday_since_last_activ".into());
    assert!(error.starts_with("health.scores.churn[0].number"), "{error}");
    assert!(error.ends_with("\"workdays_since_last_active\""), "{error}");
}

#[test]
fn a_number_counts_once_in_a_list_and_in_one_component_of_health() {
    let error = refused(|config| {
        let again = config.scores.support[0].clone();
        config.scores.support.push(again);
    });
    assert_eq!(
        error,
        "health.scores.support[2].number: \"open_ticket_age_days\" is there twice"
    );
    let error = refused(|config| config.scores.adoption[1].number = "usage_trend".into());
    assert_eq!(
        error,
        "health.scores.adoption[1].number: \"usage_trend\" is an input of activity already; a number may be \
         in one component of health only"
    );
    let error = refused(|config| config.scores.churn[3].number = "usage_trend".into());
    assert_eq!(
        error,
        "health.scores.churn[3].number: \"usage_trend\" is there twice"
    );
}

#[test]
fn a_weight_must_count_and_a_curve_must_be_one() {
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = refused(|config| config.scores.sentiment[1].weight = weight);
        assert_eq!(
            error,
            format!("health.scores.sentiment[1].weight: {weight} must be above 0 and at most 1000000")
        );
    }
    let error = refused(|config| config.scores.activity[2].curve.swap(0, 1));
    assert_eq!(
        error,
        "health.scores.activity[2].curve: the values must ascend, but corner [0.5, 0] does not"
    );
    let error = refused(|config| config.scores.expansion[0].curve[0].1 = -1.0);
    assert_eq!(
        error,
        "health.scores.expansion[0].curve: corner [0.5, -1] must have 0 to 100 as its second number"
    );
    let error = refused(|config| config.scores.churn[1].curve.clear());
    assert!(
        error.starts_with("health.scores.churn[1].curve: must have at least one corner"),
        "{error}"
    );
    let error = refused(|config| config.scores.churn_base = f64::NAN);
    assert!(
        error.starts_with("health.scores.churn_base: must be log-odds"),
        "{error}"
    );
}

#[test]
fn weights_of_stages_and_segments_are_checked_by_name() {
    let wrong = Weights {
        support: -0.1,
        ttv: 1.0,
        ..Weights::default()
    };
    let error = refused(|config| {
        config.weights.insert("renewal".into(), wrong);
    });
    assert!(
        error.starts_with("health.weights.renewal: must be numbers from 0"),
        "{error}"
    );
    let error = refused(|config| {
        let stages = [("trial".to_string(), Weights::default())].into();
        config.segment_weights.insert("smb".into(), stages);
    });
    assert!(
        error.starts_with("health.segment_weights.smb.trial: must be"),
        "{error}"
    );
    let error = refused(|config| {
        let stages = [("trail".to_string(), wrong)].into();
        config.segment_weights.insert("smb".into(), stages);
    });
    assert!(
        error.starts_with("health.segment_weights.smb.trail: is not a stage; stages are trial,"),
        "{error}"
    );
}

#[test]
fn a_component_without_inputs_is_unknown() {
    let scores = ScoresConfig {
        ttv: Vec::new(),
        activity: Vec::new(),
        adoption: Vec::new(),
        sentiment: Vec::new(),
        support: Vec::new(),
        expansion: Vec::new(),
        churn: Vec::new(),
        churn_base: 0.0,
    };
    let config = HealthConfig {
        scores,
        ..HealthConfig::default()
    };
    let model = Model::new(config).unwrap();
    let metrics = tests::metrics(&[("days_since_last_active", 1.0), ("nps", 10.0)]);
    let scores = tests::scores_of(&metrics, Stage::Adoption, &model);
    let expected = Scores {
        churn_risk: Some(0.5),
        ..Scores::default()
    };
    assert_eq!(scores, expected);
}

#[test]
fn what_is_left_out_keeps_its_default_and_what_is_not_known_is_refused() {
    let read = |text: &str| serde_json::from_str::<HealthConfig>(text);
    let config = read(
        r#"{"scores": {"adoption": [{"number": "stickiness", "weight": 1, "curve": [[0, 0], [0.5, 100]]}]},
            "segment_weights": {"smb": {"trial": {"ttv": 1}}}}"#,
    )
    .unwrap();
    assert_eq!(config.scores.adoption[0].curve, [(0.0, 0.0), (0.5, 100.0)]);
    assert_eq!(config.scores.activity, ScoresConfig::default().activity);
    let ttv_only = Weights {
        ttv: 1.0,
        ..Weights::default()
    };
    assert_eq!(config.segment_weights["smb"]["trial"], ttv_only);
    let unknown = read(r#"{"scores": {"adaption": []}}"#).unwrap_err().to_string();
    assert!(unknown.contains("unknown field `adaption`"), "{unknown}");
}

/// The tables of the document are the defaults: each is read back and held against them.
#[test]
fn the_defaults_are_those_of_the_document() {
    let document = include_str!("../../../../docs/numbers.md");
    let line = |component: &str, first: bool, input: &InputConfig| {
        let component = if first {
            format!("`{component}`")
        } else {
            String::new()
        };
        (component, input.number.clone(), input.weight, input.curve.clone())
    };
    let config = ScoresConfig::default();
    let mut expected = Vec::new();
    for component in Component::ALL {
        for (position, input) in component.configured(&config).iter().enumerate() {
            expected.push(line(component.as_str(), position == 0, input));
        }
    }
    for (position, input) in config.expansion.iter().enumerate() {
        expected.push(line("expansion", position == 0, input));
    }
    let (_, document) = document.split_once("## Scores").unwrap();
    let rows = document
        .lines()
        .filter(|line| line.starts_with('|') && line.contains(" → ") && !line.contains("(value → "));
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let of_components = cells.clone().filter(|cells| cells.len() == 6).map(|cells| {
        let component = cells[1].split(' ').next().unwrap_or_default().to_string();
        let weight: f64 = cells[3].parse().unwrap();
        (component, number(cells[2]), weight, corners(cells[4]))
    });
    assert_eq!(of_components.collect::<Vec<_>>(), expected);
    let of_churn = cells.filter(|cells| cells.len() == 4).map(|cells| ChurnInput {
        number: number(cells[1]),
        curve: corners(cells[2]),
    });
    assert_eq!(of_churn.collect::<Vec<_>>(), config.churn);
}

#[test]
fn the_default_weights_are_those_of_the_document() {
    let document = include_str!("../../../../docs/numbers.md");
    let (_, rows) = document.split_once("| stage | `ttv` | `activity`").unwrap();
    let mut found = std::collections::BTreeMap::new();
    for row in rows.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let weights = Weights {
            ttv: cells[2].parse().unwrap(),
            activity: cells[3].parse().unwrap(),
            adoption: cells[4].parse().unwrap(),
            sentiment: cells[5].parse().unwrap(),
            support: cells[6].parse().unwrap(),
        };
        let stages = cells[1].split('`').skip(1).step_by(2);
        found.extend(stages.map(|stage| (stage.to_string(), weights)));
    }
    assert_eq!(found, HealthConfig::default().weights);
}

fn number(cell: &str) -> String {
    cell.split('`').nth(1).unwrap_or_default().to_string()
}

fn corners(cell: &str) -> Vec<(f64, f64)> {
    let corner = |text: &str| {
        let text = text.replace('−', "-");
        let (value, points) = text.split_once(" → ").unwrap();
        (value.parse().unwrap(), points.parse().unwrap())
    };
    cell.split(", ").map(corner).collect()
}
