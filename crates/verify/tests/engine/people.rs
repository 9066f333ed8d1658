//! Tickets, surveys, roles and departments.

use crate::life::Life;

const D: &str = "2026-06-30T12:00:00Z";

fn ticket(life: Life, at: &str, change: &str, id: &str) -> Life {
    life.event(at, "ticket", change, "", &format!(r#"{{"ticket_id":"{id}"}}"#))
}

#[tokio::test]
async fn a_ticket_that_is_opened_again_counts_from_then() {
    let life = Life::of("reopened");
    let life = ticket(life, "2026-06-10T12:00:00Z", "opened", "T1");
    let life = ticket(life, "2026-06-12T12:00:00Z", "replied", "T1");
    let life = ticket(life, "2026-06-12T12:00:00Z", "escalated", "T1");
    let life = ticket(life, "2026-06-15T12:00:00Z", "resolved", "T1");
    life.at(D)
        .await
        .is("open_tickets", 0.0)
        .is("open_ticket_age_days", 0.0)
        .is("open_escalations", 0.0)
        .is("escalations_90d", 1.0)
        .is("tickets_opened_90d", 1.0)
        .unknown(&["oldest_open_ticket_days", "oldest_unanswered_ticket_days"]);
    let life = ticket(life, "2026-06-27T00:00:00Z", "opened", "T1");
    let life = ticket(life, "2026-06-20T12:00:00Z", "opened", "T2");
    let life = ticket(life, "2026-06-21T12:00:00Z", "replied", "T2");
    let life = ticket(life, "2026-06-22T12:00:00Z", "escalated", "T2");
    // Resolved at the instant it was opened: not newer.
    let life = ticket(life, "2026-06-23T12:00:00Z", "opened", "T3");
    let life = ticket(life, "2026-06-23T12:00:00Z", "resolved", "T3");
    // Never opened.
    let life = ticket(life, "2026-06-23T12:00:00Z", "replied", "T4");
    life.at(D)
        .await
        .is("open_tickets", 2.0)
        .is("oldest_open_ticket_days", 10.0)
        .is("oldest_unanswered_ticket_days", 3.5)
        .is("open_ticket_age_days", 10.0)
        .is("open_escalations", 1.0)
        .is("tickets_opened_90d", 4.0);
    let old = ticket(Life::of("old-ticket"), "2026-03-01T12:00:00Z", "opened", "T");
    let old = ticket(old, "2026-03-02T12:00:00Z", "resolved", "T");
    old.at(D)
        .await
        .is("open_tickets", 0.0)
        .unknown(&["open_ticket_age_days", "open_escalations"]);
}

#[tokio::test]
async fn answers_weigh_less_as_they_age() {
    let survey = |life: Life, at: &str, kind: &str, score: u8| {
        life.event(at, "survey", kind, "u", &format!(r#"{{"score":{score}}}"#))
    };
    let life = survey(Life::of("asked"), "2026-06-30T01:00:00Z", "nps", 9); // age 0: w 1, s 1
    let life = survey(life, "2026-05-16T23:00:00Z", "nps", 6); // age 45: w 1/2, s -1
    let life = survey(life, "2026-05-31T23:00:00Z", "nps", 7); // age 30: w 2/3, s 0
    let life = survey(life, "2026-04-01T23:00:00Z", "nps", 0); // age 90: none
    let life = survey(life, "2026-06-30T02:00:00Z", "csat", 5); // w 1
    let life = survey(life, "2026-05-01T02:00:00Z", "csat", 2); // age 60: w 1/3
    let life = survey(life, "2026-06-30T02:00:00Z", "ces", 7);
    life.at(D)
        .await
        .is("nps", 100.0 * (1.0 - 0.5) / (1.0 + 0.5 + 2.0 / 3.0))
        .is("csat", (5.0 + 2.0 / 3.0) / (4.0 / 3.0))
        .is("last_nps", 9.0)
        .is("days_since_last_nps", 0.0);
    // The newest response is known for ever, the score for 90 days.
    survey(Life::of("asked-once"), "2026-01-01T00:00:00Z", "nps", 3)
        .at(D)
        .await
        .is("last_nps", 3.0)
        .is("days_since_last_nps", 180.0)
        .unknown(&["nps", "csat"]);
}

#[tokio::test]
async fn silence_of_the_people_who_matter() {
    let role = |life: Life, at: &str, user: &str, told: &str| life.event(at, "user", "", user, told);
    let life = role(
        Life::of("roles"),
        "2026-06-01T00:00:00Z",
        "quiet",
        r#"{"role":"champion"}"#,
    );
    // Never active: since first named, 29 days.
    life.at(D)
        .await
        .is("champion_days_silent", 29.0)
        .unknown(&["decision_maker_days_silent"]);
    let life = role(life, "2026-06-01T00:00:00Z", "busy", r#"{"role":"champion"}"#)
        .login("2026-06-25T00:00:00Z", "busy");
    let life = role(
        life,
        "2026-06-02T00:00:00Z",
        "boss",
        r#"{"role":"decision_maker"}"#,
    )
    .login("2026-06-03T00:00:00Z", "boss")
    .event("2026-06-20T00:00:00Z", "survey", "nps", "boss", r#"{"score":9}"#);
    life.at(D)
        .await
        .is("champion_days_silent", 5.0)
        .is("decision_maker_days_silent", 27.0)
        .is("champions_removed_28d", 0.0);
    // One who left is not waited for; one who is no champion any more neither.
    let life = role(life, "2026-06-26T00:00:00Z", "busy", r#"{"removed":true}"#);
    life.at(D)
        .await
        .is("champion_days_silent", 29.0)
        .is("champions_removed_28d", 1.0);
    let life = role(life, "2026-06-27T00:00:00Z", "quiet", r#"{"role":"member"}"#);
    life.at(D)
        .await
        .is("champions_removed_28d", 1.0)
        .unknown(&["champion_days_silent"]);
    // Came back.
    let life = role(life, "2026-06-28T00:00:00Z", "busy", r#"{"removed":false}"#);
    life.at(D)
        .await
        .is("champion_days_silent", 5.0)
        .is("champions_removed_28d", 0.0);
}

#[tokio::test]
async fn a_department_is_new_when_its_first_activity_is() {
    let since = |life: Life, at: &str, user: &str, department: &str| {
        let told = format!(r#"{{"department":"{department}"}}"#);
        life.event(at, "user", "", user, &told)
    };
    let of = |life, user, department| since(life, "2026-05-01T00:00:00Z", user, department);
    let life = Life::of("departments")
        .login("2026-05-01T00:00:00Z", "a")
        .login("2026-06-20T00:00:00Z", "b");
    life.at(D).await.unknown(&["new_departments_28d"]);
    let life = of(of(of(life, "a", "sales"), "b", "design"), "c", "legal");
    life.at(D).await.is("new_departments_28d", 1.0);
    // One of the same department was active before.
    since(life, "2026-05-02T00:00:00Z", "a", "design")
        .at(D)
        .await
        .is("new_departments_28d", 0.0);
    // The account itself is new.
    of(Life::of("departments-new"), "a", "sales")
        .login("2026-06-20T00:00:00Z", "a")
        .at(D)
        .await
        .unknown(&["new_departments_28d"]);
}
