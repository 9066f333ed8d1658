//! What the numbers of support, surveys, people and contract say, and the scores; English and Japanese.

use super::figure::Figure;
use super::phrase::{Phrase, compares, count, says};

pub(super) const PHRASES: &[(&str, Phrase)] = &[
    (
        "open_tickets",
        count(
            ["{} open ticket[s]", "未解決の問い合わせ{}件"],
            ["no open ticket", "未解決の問い合わせなし"],
        ),
    ),
    (
        "oldest_open_ticket_days",
        count(
            ["a ticket open for {} day[s]", "{}日間未解決の問い合わせあり"],
            ["a ticket opened just now", "新しい未解決の問い合わせあり"],
        ),
    ),
    (
        "oldest_unanswered_ticket_days",
        count(
            [
                "a ticket unanswered for {} day[s]",
                "{}日間未返信の問い合わせあり",
            ],
            [
                "a ticket just opened, not answered yet",
                "新しい未返信の問い合わせあり",
            ],
        ),
    ),
    (
        // Of any other than 0, what the oldest open ticket says.
        "open_ticket_age_days",
        count(
            ["a ticket open for {} day[s]", "{}日間未解決の問い合わせあり"],
            ["all tickets resolved", "問い合わせはすべて解決済み"],
        ),
    ),
    (
        "open_escalations",
        count(
            [
                "{} escalated ticket[s] open",
                "エスカレーション中の問い合わせ{}件",
            ],
            ["no escalated ticket open", "エスカレーション中の問い合わせなし"],
        ),
    ),
    (
        "escalations_90d",
        count(
            ["{} escalation[s] in 90 days", "直近90日間のエスカレーション{}件"],
            ["no escalation in 90 days", "直近90日間のエスカレーションなし"],
        ),
    ),
    (
        "tickets_opened_90d",
        count(
            ["{} ticket[s] opened in 90 days", "直近90日間の問い合わせ{}件"],
            ["no ticket opened in 90 days", "直近90日間の問い合わせなし"],
        ),
    ),
    (
        "nps",
        says(Figure::Whole, ["NPS of 90 days is {}", "直近90日間のNPSは{}"]),
    ),
    (
        "csat",
        says(
            Figure::Tenth,
            [
                "satisfaction {} of 5 in 90 days",
                "直近90日間の顧客満足度は5点中{}点",
            ],
        ),
    ),
    (
        "last_nps",
        says(
            Figure::Tenth,
            ["{} of 10 in the newest NPS response", "最新のNPS回答は10点中{}点"],
        ),
    ),
    (
        "days_since_last_nps",
        count(
            ["last NPS response {} day[s] ago", "最後のNPS回答から{}日経過"],
            ["NPS response today", "本日NPSの回答あり"],
        ),
    ),
    (
        "champion_days_silent",
        count(
            ["no champion active for {} day[s]", "チャンピオンが{}日間利用なし"],
            ["champion active today", "本日チャンピオンの利用あり"],
        ),
    ),
    (
        "decision_maker_days_silent",
        count(
            ["no decision maker active for {} day[s]", "決裁者が{}日間利用なし"],
            ["decision maker active today", "本日決裁者の利用あり"],
        ),
    ),
    (
        "champions_removed_28d",
        count(
            [
                "{} champion[s] lost in 28 days",
                "直近28日間にチャンピオン{}人が離脱",
            ],
            [
                "no champion lost in 28 days",
                "直近28日間のチャンピオンの離脱なし",
            ],
        ),
    ),
    (
        "new_departments_28d",
        count(
            [
                "{} new department[s] in 28 days",
                "直近28日間に{}部門が新たに利用開始",
            ],
            ["no new department in 28 days", "直近28日間の新規利用部門なし"],
        ),
    ),
    ("mrr", says(Figure::Whole, ["MRR is {}", "MRRは{}"])),
    (
        "downgrades_28d",
        count(
            ["{} downgrade[s] in 28 days", "直近28日間のダウングレード{}件"],
            ["no downgrade in 28 days", "直近28日間のダウングレードなし"],
        ),
    ),
    (
        "errors_7d",
        count(
            ["{} error[s] in 7 days", "直近7日間のエラー{}件"],
            ["no error in 7 days", "直近7日間のエラーなし"],
        ),
    ),
    (
        "errors_usual_7d",
        says(
            Figure::Tenth,
            ["{} error[s] in a usual week", "普段の週のエラーは{}件"],
        ),
    ),
    (
        "errors_trend",
        compares(
            ["errors down {} on a usual week", "エラーが普段の週より{}減少"],
            ["errors up {} on a usual week", "エラーが普段の週より{}増加"],
            ["errors as in a usual week", "エラーは普段の週と同水準"],
        ),
    ),
    (
        "empty_searches_28d",
        count(
            [
                "{} search[es] without a result in 28 days",
                "直近28日間に結果なしの検索{}回",
            ],
            [
                "no search without a result in 28 days",
                "直近28日間に結果なしの検索なし",
            ],
        ),
    ),
    (
        "engagements_28d",
        count(
            ["{} engagement[s] in 28 days", "直近28日間のエンゲージメント{}件"],
            ["no engagement in 28 days", "直近28日間のエンゲージメントなし"],
        ),
    ),
    (
        "usual_gap_workdays",
        says(
            Figure::Tenth,
            [
                "usually {} working day[s] between uses",
                "普段の利用間隔は{}営業日",
            ],
        ),
    ),
    (
        "health",
        says(Figure::Whole, ["health {} of 100", "ヘルススコア{}点"]),
    ),
    (
        "churn_risk",
        says(
            Figure::Percent,
            ["{} risk of churn within 30 days", "30日以内の解約リスク{}"],
        ),
    ),
    (
        "expansion",
        says(
            Figure::Whole,
            ["expansion score {} of 100", "拡大見込みスコア{}点"],
        ),
    ),
    (
        "ttv",
        says(
            Figure::Whole,
            ["time-to-value score {} of 100", "価値実感スコア{}点"],
        ),
    ),
    (
        "activity",
        says(Figure::Whole, ["activity score {} of 100", "活動スコア{}点"]),
    ),
    (
        "adoption",
        says(Figure::Whole, ["adoption score {} of 100", "定着スコア{}点"]),
    ),
    (
        "sentiment",
        says(Figure::Whole, ["sentiment score {} of 100", "顧客の声スコア{}点"]),
    ),
    (
        "support",
        says(Figure::Whole, ["support score {} of 100", "サポートスコア{}点"]),
    ),
    (
        "confidence",
        says(
            Figure::Percent,
            [
                "{} of the health score is known",
                "ヘルススコアの{}分の指標が判明",
            ],
        ),
    ),
];
