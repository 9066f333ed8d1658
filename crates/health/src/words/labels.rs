//! What numbers, scores, stages, tiers and bands are called, English and Japanese.

type Labels = &'static [(&'static str, [&'static str; 2])];

/// The columns of `account_metrics` and the scores.
pub(super) const NUMBERS: Labels = &[
    ("logins_1d", ["Logins today", "本日のログイン"]),
    ("logins_7d", ["Logins, 7 days", "ログイン(7日)"]),
    ("logins_28d", ["Logins, 28 days", "ログイン(28日)"]),
    ("logins_90d", ["Logins, 90 days", "ログイン(90日)"]),
    (
        "logins_prior_28d",
        ["Logins, the 28 days before", "ログイン(直前28日)"],
    ),
    ("logins_trend", ["Trend of logins", "ログインの増減"]),
    (
        "logins_week_ratio",
        ["Logins, this week to average", "ログイン(週平均比)"],
    ),
    (
        "logins_per_user_28d",
        ["Logins per active user", "利用者1人あたりのログイン"],
    ),
    (
        "days_since_last_login",
        ["Days since last login", "最終ログインからの日数"],
    ),
    (
        "days_since_last_active",
        ["Days since last use", "最終利用からの日数"],
    ),
    (
        "workdays_since_last_login",
        ["Working days since last login", "最終ログインからの営業日数"],
    ),
    (
        "workdays_since_last_active",
        ["Working days since last use", "最終利用からの営業日数"],
    ),
    ("active_users_1d", ["Active users today", "本日の利用者"]),
    ("active_users_7d", ["Active users, 7 days", "利用者(7日)"]),
    ("active_users_28d", ["Active users, 28 days", "利用者(28日)"]),
    (
        "active_users_prior_28d",
        ["Active users, the 28 days before", "利用者(直前28日)"],
    ),
    ("active_users_trend", ["Trend of active users", "利用者の増減"]),
    ("stickiness", ["Stickiness", "定着率(日次÷28日利用者)"]),
    (
        "segment_stickiness",
        ["Stickiness of the segment", "セグメントの定着率"],
    ),
    (
        "relative_stickiness",
        ["Stickiness against the segment", "定着率(セグメント比)"],
    ),
    ("seats", ["Seats", "契約席数"]),
    ("seat_utilisation", ["Seats in use", "席の利用率"]),
    ("key_features_used_28d", ["Key features used", "利用中の主要機能"]),
    (
        "feature_breadth",
        ["Breadth of key features", "主要機能の利用範囲"],
    ),
    (
        "unused_key_features",
        ["Key features not used", "未利用の主要機能"],
    ),
    (
        "advanced_features_used_28d",
        ["Advanced features used", "利用中の高度な機能"],
    ),
    ("usage_28d", ["Feature uses, 28 days", "機能利用(28日)"]),
    (
        "usage_prior_28d",
        ["Feature uses, the 28 days before", "機能利用(直前28日)"],
    ),
    ("usage_trend", ["Trend of use", "利用の増減"]),
    (
        "feature_depth",
        ["Uses per active user", "利用者1人あたりの利用回数"],
    ),
    (
        "usage_z",
        ["Use of 7 days against usual", "直近7日間の利用(普段比)"],
    ),
    (
        "top_user_share",
        ["Share of the most active user", "最多利用者への集中度"],
    ),
    ("ttv_days", ["Time to first value", "初回の価値実感までの日数"]),
    (
        "ttv_running_days",
        ["Waiting for first value", "価値実感待ちの日数"],
    ),
    ("milestones_done", ["Milestones done", "達成済みマイルストーン"]),
    ("milestones_total", ["Milestones in all", "マイルストーン総数"]),
    ("milestones", ["Milestones", "マイルストーン"]),
    ("onboarding_state", ["Onboarding", "オンボーディング"]),
    ("account_age_days", ["Days since the start", "利用開始からの日数"]),
    ("days_in_stage", ["Days in the stage", "現ステージの日数"]),
    (
        "sticky_actions",
        ["Sticky actions done", "実施済みの定着アクション"],
    ),
    ("open_tickets", ["Open tickets", "未解決の問い合わせ"]),
    (
        "oldest_open_ticket_days",
        ["Oldest open ticket", "最も古い未解決の問い合わせ"],
    ),
    (
        "oldest_unanswered_ticket_days",
        ["Oldest unanswered ticket", "最も古い未返信の問い合わせ"],
    ),
    (
        "open_ticket_age_days",
        ["Age of open tickets", "問い合わせの未解決日数"],
    ),
    (
        "open_escalations",
        ["Escalated tickets open", "エスカレーション中の問い合わせ"],
    ),
    (
        "escalations_90d",
        ["Escalations, 90 days", "エスカレーション(90日)"],
    ),
    (
        "tickets_opened_90d",
        ["Tickets opened, 90 days", "問い合わせ(90日)"],
    ),
    ("nps", ["NPS, 90 days", "NPS(90日)"]),
    ("csat", ["CSAT, 90 days", "顧客満足度CSAT(90日)"]),
    ("last_nps", ["Newest NPS response", "最新のNPS回答"]),
    (
        "days_since_last_nps",
        ["Days since last NPS response", "最終NPS回答からの日数"],
    ),
    (
        "champion_days_silent",
        ["Days without the champion", "チャンピオンの未利用日数"],
    ),
    (
        "decision_maker_days_silent",
        ["Days without the decision maker", "決裁者の未利用日数"],
    ),
    (
        "champions_removed_28d",
        ["Champions lost, 28 days", "チャンピオンの離脱(28日)"],
    ),
    (
        "new_departments_28d",
        ["New departments, 28 days", "新規利用部門(28日)"],
    ),
    ("mrr", ["MRR", "MRR(月次経常収益)"]),
    ("days_to_renewal", ["Days to renewal", "更新までの日数"]),
    (
        "days_to_discount_end",
        ["Days to the end of the discount", "割引終了までの日数"],
    ),
    ("downgrades_28d", ["Downgrades, 28 days", "ダウングレード(28日)"]),
    ("errors_7d", ["Errors, 7 days", "エラー(7日)"]),
    ("errors_usual_7d", ["Errors of a usual week", "普段の週のエラー"]),
    ("errors_trend", ["Trend of errors", "エラーの増減"]),
    (
        "empty_searches_28d",
        ["Searches without a result, 28 days", "検索結果なし(28日)"],
    ),
    (
        "engagements_28d",
        ["Engagements, 28 days", "エンゲージメント(28日)"],
    ),
    ("usual_gap_workdays", ["Usual gap between uses", "普段の利用間隔"]),
    ("health", ["Health", "ヘルス"]),
    ("churn_risk", ["Churn risk", "解約リスク"]),
    ("expansion", ["Expansion", "拡大見込み"]),
    ("ttv", ["Time to value", "価値実感"]),
    ("activity", ["Activity", "活動"]),
    ("adoption", ["Adoption", "定着"]),
    ("sentiment", ["Sentiment", "顧客の声"]),
    ("support", ["Support", "サポート"]),
    ("confidence", ["Known inputs", "判明している指標"]),
];

pub(super) const STAGES: Labels = &[
    ("trial", ["Trial", "トライアル"]),
    ("onboarding", ["Onboarding", "オンボーディング"]),
    ("adoption", ["Adoption", "活用"]),
    ("expansion", ["Expansion", "拡大"]),
    ("renewal", ["Renewal", "更新"]),
    ("churned", ["Churned", "解約済み"]),
];

pub(super) const TIERS: Labels = &[
    ("high", ["High touch", "ハイタッチ"]),
    ("low", ["Low touch", "ロータッチ"]),
    ("tech", ["Tech touch", "テックタッチ"]),
];

pub(super) const BANDS: Labels = &[
    ("red", ["At risk", "要対応"]),
    ("yellow", ["Watch", "注意"]),
    ("green", ["Healthy", "良好"]),
    ("unknown", ["Not scored", "未評価"]),
];

pub(super) const ONBOARDING_STATES: Labels = &[
    ("done", ["Done", "完了"]),
    ("on_track", ["On track", "順調"]),
    ("behind", ["Behind", "遅れ"]),
    ("stalled", ["Stalled", "停滞"]),
];
