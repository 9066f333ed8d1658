use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use super::super::{Sender, Transport};
use super::*;
use crate::config::{Config, Kind};
use crate::telling::Language;
use crate::testing::mail::{Mail, MailServer, Proof, Treatment};
use crate::testing::{canonical, message, sender_of, told_in};

fn destination(url: &str) -> Destination {
    Destination {
        name: "mail".into(),
        kind: Kind::Email,
        url: url.into(),
        from: "見守り <alerts@cs.example>".into(),
        to: vec!["cs@cs.example".into(), "{owner}".into()],
        allow_plain: url.starts_with("smtp://"),
        allow_private_addresses: true,
        timeout_seconds: 10.0,
        ..Destination::default()
    }
}

fn settings() -> Settings {
    Settings::read(&destination("smtp://mail.example")).unwrap()
}

fn as_sent(mail: &lettre::Message) -> Mail {
    Mail {
        from: String::new(),
        to: mail.envelope().to().iter().map(ToString::to_string).collect(),
        data: String::from_utf8(mail.formatted()).unwrap(),
        is_encrypted: false,
        login: String::new(),
    }
}

fn render(language: Language, name: &str, change: &str) -> Mail {
    let told = message(&told_in(language), &canonical(name, change));
    as_sent(&settings().render(&told, 1_795_309_400_000).unwrap())
}

#[test]
fn a_mail_reads_as_a_person_would_write_it() {
    let told = message(&told_in(Language::En), &canonical("Ginga", "opened"));
    assert_eq!(
        page::text(&told),
        format!(
            "At risk: Ginga\n\nGinga: feature use down 86%\n\n\
             - feature use down 86% on the 28 days before\n- 2 tickets open\n- an NPS answer of 3\n\n\
             Tier: {}\nStage: {}\nPlan: standard\nSegment: mid\nOwner: 田中 翔\n\n\
             Health: 58.7 ({})\nChurn risk, 30 days: 21%\nMonthly value: ¥74,400\nDays to renewal: 166\n\n\
             https://mimamori.example/#account=ginga%2046%2Fx\n\n\
             mimamori · Rule: falling_usage · 2026-11-22T01:02:03.004Z · al_opened",
            health::words::tier("high").en,
            health::words::stage("adoption").en,
            health::words::band("yellow").en,
        )
    );
    let mail = render(Language::En, "Ginga", "opened");
    assert_eq!(mail.header("Subject"), "At risk: Ginga");
    assert_eq!(mail.header("Date"), "Sun, 22 Nov 2026 01:03:20 +0000");
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    assert_eq!(mail.to, ["cs@cs.example", "sho@example.jp"]);
    assert!(mail.header("Content-Type").starts_with("multipart/alternative"));
    assert!(mail.data.contains("Content-Type: text/plain") && mail.data.contains("Content-Type: text/html"));
    // The same mail has the same bytes, whenever it is tried.
    assert_eq!(mail, render(Language::En, "Ginga", "opened"));
}

#[test]
fn an_episode_is_one_thread() {
    let opened = render(Language::Ja, "銀河", "opened");
    assert_eq!(opened.header("Message-ID"), "<ep_94ff07d4@cs.example>");
    assert_eq!(opened.header("References"), "");
    for change in ["escalated", "acknowledged", "resolved"] {
        let later = render(Language::Ja, "銀河", change);
        assert_eq!(later.header("Message-ID"), format!("<al_{change}@cs.example>"));
        assert_eq!(later.header("In-Reply-To"), "<ep_94ff07d4@cs.example>");
        assert_eq!(later.header("References"), "<ep_94ff07d4@cs.example>");
    }
    assert_eq!(plain_id("al_1.x-y"), "al_1.x-y");
    assert_eq!(plain_id("a>\r\nBcc: x").len(), 64);
}

#[test]
fn nothing_from_outside_adds_a_header_or_a_tag() {
    let evil = "x\r\nBcc: victim@evil.example\r\n\r\n<script>alert(1)</script> \"&'";
    let mail = render(Language::En, evil, "opened");
    assert_eq!(mail.header("Bcc"), "");
    assert!(
        mail.header("Subject")
            .starts_with("At risk: x Bcc: victim@evil.example")
    );
    assert_eq!(mail.to, ["cs@cs.example", "sho@example.jp"]);
    let told = message(&told_in(Language::En), &canonical(evil, "opened"));
    let html = page::html(&told);
    assert!(!html.contains("<script>"), "{html}");
    assert!(
        html.contains("&lt;script&gt;alert(1)&lt;/script&gt; &quot;&amp;&#39;"),
        "{html}"
    );
}

#[test]
fn a_mail_to_nobody_says_whose_address_is_missing() {
    let mut destination = destination("smtp://mail.example");
    destination.to = vec!["{owner}".into()];
    let settings = Settings::read(&destination).unwrap();
    let told = message(&Config::default(), &canonical("Ginga", "opened"));
    let refused = settings.render(&told, 0).unwrap_err();
    assert_eq!(
        refused,
        "nobody to write to: alert.owners.\"田中 翔\" has no email"
    );
}

#[test]
fn what_cannot_be_written_with_is_refused() {
    let problem = |change: fn(&mut Destination)| {
        let mut destination = destination("smtp://mail.example");
        change(&mut destination);
        Settings::read(&destination).unwrap_err().to_string()
    };
    assert!(problem(|d| d.url = "https://mail.example".into()).contains("smtps or smtp"));
    assert!(problem(|d| d.url = "smtp://u:p@mail.example".into()).contains("keys of their own"));
    assert!(problem(|d| d.to = Vec::new()).contains("names nobody"));
    assert!(problem(|d| d.to = vec!["cs@cs.example\r\nBcc: x@y.example".into()]).contains("to: "));
    assert!(problem(|d| d.from = "nobody".into()).contains("from: "));
    assert!(problem(|d| d.user = "x".into()).contains("together with password"));
    assert!(
        problem(|d| {
            d.url = "smtp://127.0.0.1".into();
            d.allow_private_addresses = false;
        })
        .contains("set allow_private_addresses")
    );
}

async fn send(sender: &Sender, change: &str) -> Answer {
    let body = canonical("Ginga", change);
    let parcel = Parcel {
        alert_id: "al_1",
        body: &body,
        reference: None,
    };
    Transport::send(sender, parcel).await
}

fn sender(destination: Destination) -> Sender {
    let config = Config {
        destinations: vec![destination],
        ..told_in(Language::En)
    };
    // Every name leads to loopback.
    let guard = Guard::of(|_| vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], |_| true);
    sender_of(&config, Some(guard))
}

#[tokio::test]
async fn a_mail_arrives_and_what_the_server_calls_it_is_kept() {
    let server = MailServer::start(|_| Treatment::Accept).await;
    let sender = sender(destination(&format!(
        "smtp://mail.example:{}",
        server.address.port()
    )));
    let answer = send(&sender, "opened").await;
    assert_eq!(answer.verdict(), Verdict::Delivered, "{answer:?}");
    assert!(answer.reference().contains("queued as 4F1"), "{answer:?}");
    let mail = server.wait_for(1).await.remove(0);
    assert!(mail.from.contains("<alerts@cs.example>"));
    assert_eq!(mail.to.len(), 2);
    assert_eq!(mail.header("Message-ID"), "<ep_94ff07d4@cs.example>");
    assert!(!mail.is_encrypted && mail.login.is_empty());
}

#[tokio::test]
async fn a_connection_is_encrypted_for_the_name_that_is_configured() {
    let proof = Proof::of("mail.example");
    for is_tls in [false, true] {
        let server = MailServer::encrypted(&proof, is_tls).await;
        let scheme = if is_tls { "smtps" } else { "smtp" };
        let with_name = |name: &str| Destination {
            url: format!("{scheme}://{name}:{}", server.address.port()),
            allow_plain: false,
            user: "alerts".into(),
            password: "s3cret".into(),
            ca_file: proof.authority.path().display().to_string(),
            ..destination("smtp://mail.example")
        };
        let answer = send(&sender(with_name("mail.example")), "opened").await;
        assert_eq!(answer.verdict(), Verdict::Delivered, "{scheme}: {answer:?}");
        let mail = server.wait_for(1).await.remove(0);
        assert!(
            mail.is_encrypted && mail.login.starts_with("AUTH PLAIN"),
            "{mail:?}"
        );
        // The same server under another name is not who it says it is.
        let answer = send(&sender(with_name("other.example")), "opened").await;
        assert!(
            matches!(answer.verdict(), Verdict::Retry { .. }),
            "{scheme}: {answer:?}"
        );
        // Nor is one that nobody vouches for.
        let unknown = Destination {
            ca_file: String::new(),
            ..with_name("mail.example")
        };
        let answer = send(&sender(unknown), "opened").await;
        assert!(
            matches!(answer.verdict(), Verdict::Retry { .. }),
            "{scheme}: {answer:?}"
        );
        assert_eq!(server.mails().len(), 1);
    }
}

#[tokio::test]
async fn nothing_goes_out_in_the_clear_unless_that_is_permitted() {
    let server = MailServer::start(|_| Treatment::Accept).await;
    let strict = Destination {
        allow_plain: false,
        user: "alerts".into(),
        password: "s3cret".into(),
        ..destination(&format!("smtp://mail.example:{}", server.address.port()))
    };
    let Verdict::Retry { error, .. } = send(&sender(strict), "opened").await.verdict() else {
        panic!("whoever is on the way may have hidden STARTTLS for a while");
    };
    assert!(error.contains("offers no STARTTLS"), "{error}");
    assert_eq!(server.mails(), []);
}

#[tokio::test]
async fn each_answer_of_the_server_means_one_thing() {
    for (at, line, is_passing) in [
        ("greeting", "421 too busy", true),
        ("RCPT", "450 greylisted, come back later", true),
        (".", "452 no room", true),
        ("RCPT", "550 no such user", false),
        ("MAIL", "553 not yours", false),
        (".", "554 it looks like spam", false),
    ] {
        let server = MailServer::start(move |_| Treatment::Answer(at, line)).await;
        let sender = sender(destination(&format!(
            "smtp://mail.example:{}",
            server.address.port()
        )));
        let (error, passes) = match send(&sender, "opened").await.verdict() {
            Verdict::Retry { error, .. } => (error, true),
            Verdict::Failed { error } => (error, false),
            other => panic!("{at} {line}: {other:?}"),
        };
        assert_eq!(passes, is_passing, "{at} {line}: {error}");
        assert!(
            error.contains(&line[..3]) && error.contains(&line[4..]),
            "{error}"
        );
        assert_eq!(server.mails(), []);
    }
}

#[tokio::test]
async fn a_server_that_hangs_drips_or_floods_is_left() {
    for treatment in [
        Treatment::Hang,
        Treatment::Drip,
        Treatment::Flood,
        Treatment::Reset,
    ] {
        let told = treatment.clone();
        let server = MailServer::start(move |_| told.clone()).await;
        let sender = sender(Destination {
            timeout_seconds: 1.0,
            ..destination(&format!("smtp://mail.example:{}", server.address.port()))
        });
        let begun = Instant::now();
        let answer = send(&sender, "opened").await;
        let is_late = matches!(answer, Answer::TimedOut(_));
        match treatment {
            Treatment::Hang | Treatment::Drip => assert!(is_late, "{treatment:?}: {answer:?}"),
            _ => assert!(
                matches!(answer, Answer::Broken(_)) || is_late,
                "{treatment:?}: {answer:?}"
            ),
        }
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert!(matches!(answer.verdict(), Verdict::Retry { .. }));
    }
}
