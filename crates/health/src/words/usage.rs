//! What the numbers of use and of onboarding say, English and Japanese.

use super::figure::Figure;
use super::phrase::{Phrase, compares, count, says};

pub(super) const PHRASES: &[(&str, Phrase)] = &[
    (
        "logins_1d",
        count(
            ["{} login[s] today", "本日のログイン{}回"],
            ["no login today", "本日のログインなし"],
        ),
    ),
    (
        "logins_7d",
        count(
            ["{} login[s] in 7 days", "直近7日間のログイン{}回"],
            ["no login in 7 days", "直近7日間のログインなし"],
        ),
    ),
    (
        "logins_28d",
        count(
            ["{} login[s] in 28 days", "直近28日間のログイン{}回"],
            ["no login in 28 days", "直近28日間のログインなし"],
        ),
    ),
    (
        "logins_90d",
        count(
            ["{} login[s] in 90 days", "直近90日間のログイン{}回"],
            ["no login in 90 days", "直近90日間のログインなし"],
        ),
    ),
    (
        "logins_prior_28d",
        count(
            [
                "{} login[s] in the 28 days before the last 28",
                "直近28日より前の28日間のログイン{}回",
            ],
            [
                "no login in the 28 days before the last 28",
                "直近28日より前の28日間のログインなし",
            ],
        ),
    ),
    (
        "logins_trend",
        compares(
            [
                "logins down {} on the 28 days before",
                "ログインが直前28日間より{}減少",
            ],
            [
                "logins up {} on the 28 days before",
                "ログインが直前28日間より{}増加",
            ],
            ["logins as in the 28 days before", "ログインは直前28日間と同水準"],
        ),
    ),
    (
        "logins_week_ratio",
        compares(
            [
                "logins of 7 days {} below the average week",
                "直近7日間のログインが28日間の週平均より{}少ない",
            ],
            [
                "logins of 7 days {} above the average week",
                "直近7日間のログインが28日間の週平均より{}多い",
            ],
            [
                "logins of 7 days as in the average week",
                "直近7日間のログインは28日間の週平均と同水準",
            ],
        ),
    ),
    (
        "logins_per_user_28d",
        says(
            Figure::Tenth,
            [
                "{} login[s] per active user in 28 days",
                "直近28日間のログインは利用者1人あたり{}回",
            ],
        ),
    ),
    (
        "days_since_last_login",
        count(
            ["no login for {} day[s]", "{}日間ログインなし"],
            ["logged in today", "本日ログインあり"],
        ),
    ),
    (
        "days_since_last_active",
        count(
            ["no use for {} day[s]", "{}日間利用なし"],
            ["used today", "本日利用あり"],
        ),
    ),
    (
        "workdays_since_last_login",
        count(
            ["no login for {} working day[s]", "{}営業日ログインなし"],
            [
                "logged in since the last working day",
                "直近の営業日以降にログインあり",
            ],
        ),
    ),
    (
        "workdays_since_last_active",
        count(
            ["no use for {} working day[s]", "{}営業日利用なし"],
            ["used since the last working day", "直近の営業日以降に利用あり"],
        ),
    ),
    (
        "active_users_1d",
        count(
            ["{} active user[s] today", "本日の利用者{}人"],
            ["nobody active today", "本日の利用者なし"],
        ),
    ),
    (
        "active_users_7d",
        count(
            ["{} active user[s] in 7 days", "直近7日間の利用者{}人"],
            ["nobody active in 7 days", "直近7日間の利用者なし"],
        ),
    ),
    (
        "active_users_28d",
        count(
            ["{} active user[s] in 28 days", "直近28日間の利用者{}人"],
            ["nobody active in 28 days", "直近28日間の利用者なし"],
        ),
    ),
    (
        "active_users_prior_28d",
        count(
            [
                "{} active user[s] in the 28 days before the last 28",
                "直近28日より前の28日間の利用者{}人",
            ],
            [
                "nobody active in the 28 days before the last 28",
                "直近28日より前の28日間の利用者なし",
            ],
        ),
    ),
    (
        "active_users_trend",
        compares(
            [
                "active users down {} on the 28 days before",
                "利用者数が直前28日間より{}減少",
            ],
            [
                "active users up {} on the 28 days before",
                "利用者数が直前28日間より{}増加",
            ],
            [
                "active users as in the 28 days before",
                "利用者数は直前28日間と同水準",
            ],
        ),
    ),
    (
        "stickiness",
        says(
            Figure::Percent,
            [
                "{} of the active users of 28 days come on an average day",
                "28日間の利用者のうち1日平均{}が利用",
            ],
        ),
    ),
    (
        "segment_stickiness",
        says(
            Figure::Percent,
            [
                "the median stickiness of the segment is {}",
                "セグメントの定着率の中央値は{}",
            ],
        ),
    ),
    (
        "relative_stickiness",
        compares(
            [
                "stickiness {} below the segment's median",
                "定着率がセグメントの中央値より{}低い",
            ],
            [
                "stickiness {} above the segment's median",
                "定着率がセグメントの中央値より{}高い",
            ],
            [
                "stickiness as the segment's median",
                "定着率はセグメントの中央値と同水準",
            ],
        ),
    ),
    ("seats", says(Figure::Whole, ["{} seat[s]", "契約席数は{}席"])),
    (
        "seat_utilisation",
        says(
            Figure::Percent,
            [
                "{} of the seats active in 28 days",
                "直近28日間の利用者は契約席数の{}",
            ],
        ),
    ),
    (
        "key_features_used_28d",
        count(
            [
                "{} key feature[s] used in 28 days",
                "直近28日間に主要機能を{}種類利用",
            ],
            ["no key feature used in 28 days", "直近28日間の主要機能の利用なし"],
        ),
    ),
    (
        "feature_breadth",
        says(
            Figure::Percent,
            ["{} of the key features in use", "主要機能の{}を利用"],
        ),
    ),
    (
        "advanced_features_used_28d",
        count(
            [
                "{} advanced feature[s] used in 28 days",
                "直近28日間に高度な機能を{}種類利用",
            ],
            [
                "no advanced feature used in 28 days",
                "直近28日間の高度な機能の利用なし",
            ],
        ),
    ),
    (
        "usage_28d",
        count(
            ["{} feature use[s] in 28 days", "直近28日間の機能利用{}回"],
            ["no feature use in 28 days", "直近28日間の機能利用なし"],
        ),
    ),
    (
        "usage_prior_28d",
        count(
            [
                "{} feature use[s] in the 28 days before the last 28",
                "直近28日より前の28日間の機能利用{}回",
            ],
            [
                "no feature use in the 28 days before the last 28",
                "直近28日より前の28日間の機能利用なし",
            ],
        ),
    ),
    (
        "usage_trend",
        compares(
            [
                "feature use down {} on the 28 days before",
                "機能利用が直前28日間より{}減少",
            ],
            [
                "feature use up {} on the 28 days before",
                "機能利用が直前28日間より{}増加",
            ],
            [
                "feature use as in the 28 days before",
                "機能利用は直前28日間と同水準",
            ],
        ),
    ),
    (
        "feature_depth",
        says(
            Figure::Tenth,
            [
                "{} feature use[s] per active user in 28 days",
                "直近28日間の機能利用は利用者1人あたり{}回",
            ],
        ),
    ),
    (
        "top_user_share",
        says(
            Figure::Percent,
            [
                "one user makes {} of the feature use of 28 days",
                "直近28日間の機能利用の{}が1人に集中",
            ],
        ),
    ),
    (
        "ttv_days",
        says(
            Figure::Tenth,
            ["first value after {} day[s]", "{}日で初回の価値実感に到達"],
        ),
    ),
    (
        "ttv_running_days",
        count(
            [
                "still waiting for the first value after {} day[s]",
                "開始から{}日、初回の価値実感に未到達",
            ],
            [
                "started today, first value still to come",
                "本日開始、初回の価値実感はこれから",
            ],
        ),
    ),
    (
        "milestones_done",
        count(
            ["{} milestone[s] reached", "マイルストーン{}件を達成"],
            ["no milestone reached", "達成したマイルストーンなし"],
        ),
    ),
    (
        "milestones_total",
        says(
            Figure::Whole,
            ["{} milestone[s] in all", "マイルストーンは全{}件"],
        ),
    ),
    (
        "account_age_days",
        count(
            ["{} day[s] since the start", "利用開始から{}日"],
            ["started today", "本日利用開始"],
        ),
    ),
    (
        "days_in_stage",
        count(
            ["{} day[s] in the current stage", "現在のステージに入って{}日"],
            ["entered the current stage today", "本日現在のステージに移行"],
        ),
    ),
    (
        "sticky_actions",
        count(
            ["{} sticky action[s] done", "定着アクション{}件を実施済み"],
            ["no sticky action done", "定着アクションは未実施"],
        ),
    ),
];
