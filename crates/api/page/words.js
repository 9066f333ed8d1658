// Words and numbers in both languages. Texts that speak of one account come from the API in both.

const WORDS = {
  en: {
    skip: "Skip to the accounts",
    language: "Language",
    summary: "Accounts by band",
    accounts: "Accounts",
    filter_band: "Show only one band",
    search: "Search by name or id",
    stage: "Stage",
    all_stages: "All stages",
    sort: "Sort",
    clear: "Clear filters",
    pages: "Pages",
    previous: "Previous",
    next: "Next",
    no_match: "No account matches these filters.",
    start_title: "No customer events yet",
    start_text: "As soon as the first event of a customer arrives, the account appears here with its score.",
    start_event: "Send the first event to Kafka",
    start_demo: "Or watch synthetic customers",
    key_wanted: "This server asks for an API key",
    key_wrong: "This key was not accepted. Try another",
    key_send: "Open",
    loading: "Loading…",
    live: "Live · {time}",
    stale: "Not reachable since {time}; trying again",
    paused: "Paused",
    trouble: "The server cannot answer: {detail}",
    count: "{n} accounts",
    count_one: "1 account",
    range: "{from}–{to} of {total}",
    unknown: "unknown",
    none: "–",
    band_red: "At risk",
    band_yellow: "Watch",
    band_green: "Healthy",
    band_unknown: "Not scored",
    all: "All",
    stage_trial: "Trial",
    stage_onboarding: "Onboarding",
    stage_adoption: "Adoption",
    stage_expansion: "Expansion",
    stage_renewal: "Renewal",
    stage_churned: "Churned",
    tier_high: "High touch",
    tier_low: "Low touch",
    tier_tech: "Tech touch",
    col_name: "Account",
    col_health: "Health",
    col_trend: "30 days",
    col_churn_risk: "Churn risk",
    col_activity: "Activity",
    col_adoption: "Adoption",
    col_ttv: "Time to value",
    col_days_since_last_login: "Last login",
    col_stage: "Stage · owner",
    col_mrr: "MRR",
    col_reason: "Strongest reason",
    churn_risk_hint: "Probability of churn within 30 days",
    change_week: "{change} in 7 days",
    change_none: "Unchanged in 7 days",
    change_unknown: "Not known 7 days ago",
    moved_up: "Health rose by {n}",
    moved_down: "Health fell by {n}",
    ttv_reached: "{n} d",
    ttv_reached_long: "First value after {n} days",
    ttv_waiting: "Waiting {n} d",
    ttv_waiting_long: "No first value {n} days after the start",
    onboarding_done: "Done",
    onboarding_on_track: "On track",
    onboarding_behind: "Behind",
    onboarding_stalled: "Stalled",
    no_owner: "No owner",
    close: "Close",
    facts: "Contract",
    plan: "Plan",
    owner: "Owner",
    segment: "Segment",
    tier: "Touch",
    seats: "Seats",
    started: "Since",
    contract_end: "Contract ends",
    timezone: "Time zone",
    score_health: "Health",
    score_churn_risk: "Churn risk",
    score_activity: "Activity",
    score_adoption: "Adoption",
    score_ttv: "Time to value",
    score_sentiment: "Sentiment",
    score_support: "Support",
    score_expansion: "Expansion",
    score_confidence: "Known inputs",
    history: "History",
    range_days: "{n} days",
    history_none: "No history in this range yet.",
    chart_health: "Health",
    chart_risk: "Churn risk",
    chart_text: "Health from {first} to {last} between {from} and {to}; lowest {low}, highest {high}.",
    drivers: "Why",
    drivers_health: "What makes the health score",
    drivers_health_unit: "points above or below 50",
    drivers_churn_risk: "What makes the churn risk",
    drivers_churn_risk_unit: "factor on the odds",
    drivers_expansion: "What makes the room to grow",
    usual: "usually {n}",
    drivers_none: "No inputs are known yet.",
    helps: "helps",
    hurts: "hurts",
    points: "{n} points",
    odds: "odds ×{n}",
    alerts: "Alerts",
    alert_opened: "Opened",
    alert_escalated: "Escalated",
    alert_acknowledged: "Acknowledged",
    alert_resolved: "Resolved",
    alert_retracted: "Retracted",
    milestones: "Milestones",
    dwell_took: "took {n} d",
    dwell_waits: "{n} d so far",
    stages: "Stages",
    stage_since: "since {from}",
    stage_lasted: "{from} – {to}",
    numbers: "Numbers",
    receipt: "Receipt",
    receipt_evaluated: "Evaluated",
    receipt_watermark: "Read up to",
    receipt_offset: "Last event's offset",
    receipt_model: "Model",
    receipt_check: "Compute again and compare",
    receipt_checking: "Computing from the raw events…",
    receipt_same: "The events give the same numbers and scores.",
    receipt_differs: "{n} values differ: {names}",
    receipt_save: "Save as JSON",
    receipt_sql: "SQL that makes the numbers and scores again",
    events: "Latest events",
    events_none: "No events.",
    event_login: "Login",
    event_feature: "Feature",
    event_milestone: "Milestone",
    event_account: "Account",
    event_user: "User",
    event_contract: "Contract",
    event_ticket: "Ticket",
    event_survey: "Survey",
    event_engagement: "Engagement",
    event_error: "Error",
    event_action: "Team",
    views: "Views",
    open_alerts: "Open alerts",
    alerts_none: "No alert is open.",
    alert_since: "since {time}",
    alert_actions: "What to do about {rule} of {name}",
    alert_state_open: "Nobody is on it",
    alert_state_acknowledged: "Acknowledged",
    alert_state_snoozed: "Snoozed",
    alert_state_resolving: "Being resolved",
    severity_info: "Info",
    severity_warning: "Warning",
    severity_critical: "Critical",
    who: "Who acts",
    who_hint: "Your name",
    who_wanted: "First say who acts.",
    acknowledge: "Acknowledge",
    snooze: "Snooze",
    snooze_days: "{n} d",
    snooze_for: "Snooze for {n} days",
    resolve: "Resolve",
    note: "Note…",
    note_text: "Note, also for the next action",
    note_save: "Save note",
    note_wanted: "First write the note.",
    playbook: "Playbook",
    acknowledged_by: "{by} has been on it since {time}",
    snoozed_until: "snoozed until {time}",
    noted: "“{note}” ({by})",
    action_sending: "Sending…",
    action_done: "Recorded.",
    action_failed: "Not recorded: {detail}",
    evaluated: "Evaluated {time}",
    gone: "This account is not known (any more).",
    per_user: "{n} per user",
    days: "{n} d",
    workdays: "{n} working d",
    sigmas: "{n} σ",
    times: "{n}",
    outcome: "Did telling help?",
    outcome_note: "Told accounts beside held-out ones, of which nobody was told. Only their difference says anything about telling: accounts are alarmed about at their worst, and most get better by themselves. Bars are 95 % intervals; of each account the first alert of a rule counts.",
    outcome_none: "Nothing to compare yet: no rule has alarmed anybody.",
    outcome_until: "{days} days after the alert; known until {time}",
    outcome_failed: "Could not be loaded at {time}.",
    outcome_period: "Days after the alert",
    outcome_days: "{n} days",
    outcome_at_risk: "risk",
    outcome_opportunity: "opportunity",
    outcome_arm: "Accounts that were",
    outcome_accounts: "How many",
    outcome_recovered: "Alert over",
    outcome_retained: "Still customers",
    outcome_health_change: "Health since",
    outcome_waiting: "({n} waiting)",
    outcome_less: "{one} less {other}",
    outcome_points: "{n} points",
    outcome_bounds: "{low} to {high}",
    outcome_clear: "more than chance",
    outcome_unclear: "could be chance",
    outcome_doubtful: "too little to rely on: see the warnings",
    arm_told: "Told",
    arm_held_out: "Held out",
    arm_shadow: "Recorded only",
    arm_nobody: "Reached nobody",
  },
  ja: {
    skip: "アカウント一覧へ移動",
    language: "言語",
    summary: "バンド別アカウント数",
    accounts: "アカウント",
    filter_band: "バンドで絞り込む",
    search: "名前・IDで検索",
    stage: "ステージ",
    all_stages: "すべてのステージ",
    sort: "並べ替え",
    clear: "絞り込みを解除",
    pages: "ページ",
    previous: "前へ",
    next: "次へ",
    no_match: "条件に合うアカウントはありません。",
    start_title: "まだイベントが届いていません",
    start_text: "お客様の最初のイベントが届くと、そのアカウントがスコアとともにここに表示されます。",
    start_event: "最初のイベントをKafkaに送る",
    start_demo: "または、架空の顧客データで動きを見る",
    key_wanted: "このサーバーにはAPIキーが必要です",
    key_wrong: "このキーは使えませんでした。別のキーを入力してください",
    key_send: "開く",
    loading: "読み込み中…",
    live: "ライブ · {time}",
    stale: "{time}から接続できません。再接続しています",
    paused: "一時停止中",
    trouble: "サーバーが応答できません: {detail}",
    count: "{n}件",
    count_one: "1件",
    range: "{total}件中 {from}–{to}件",
    unknown: "不明",
    none: "–",
    band_red: "要対応",
    band_yellow: "注意",
    band_green: "良好",
    band_unknown: "未評価",
    all: "すべて",
    stage_trial: "トライアル",
    stage_onboarding: "オンボーディング",
    stage_adoption: "活用",
    stage_expansion: "拡大",
    stage_renewal: "更新",
    stage_churned: "解約済み",
    tier_high: "ハイタッチ",
    tier_low: "ロータッチ",
    tier_tech: "テックタッチ",
    col_name: "アカウント",
    col_health: "ヘルス",
    col_trend: "30日間",
    col_churn_risk: "解約リスク",
    col_activity: "活動",
    col_adoption: "定着",
    col_ttv: "価値実感",
    col_days_since_last_login: "最終ログイン",
    col_stage: "ステージ・担当",
    col_mrr: "MRR",
    col_reason: "主な理由",
    churn_risk_hint: "30日以内に解約する確率",
    change_week: "7日間で{change}",
    change_none: "7日間で変化なし",
    change_unknown: "7日前のスコアなし",
    moved_up: "ヘルスが{n}上昇",
    moved_down: "ヘルスが{n}低下",
    ttv_reached: "{n}日",
    ttv_reached_long: "{n}日で初回の価値実感に到達",
    ttv_waiting: "{n}日待ち",
    ttv_waiting_long: "開始から{n}日、初回の価値実感に未到達",
    onboarding_done: "完了",
    onboarding_on_track: "順調",
    onboarding_behind: "遅れ",
    onboarding_stalled: "停滞",
    no_owner: "担当なし",
    close: "閉じる",
    facts: "契約",
    plan: "プラン",
    owner: "担当",
    segment: "セグメント",
    tier: "タッチ",
    seats: "席数",
    started: "利用開始",
    contract_end: "契約満了",
    timezone: "タイムゾーン",
    score_health: "ヘルス",
    score_churn_risk: "解約リスク",
    score_activity: "活動",
    score_adoption: "定着",
    score_ttv: "価値実感",
    score_sentiment: "満足度",
    score_support: "サポート",
    score_expansion: "拡大余地",
    score_confidence: "判明している指標",
    history: "推移",
    range_days: "{n}日",
    history_none: "この期間の履歴はまだありません。",
    chart_health: "ヘルス",
    chart_risk: "解約リスク",
    chart_text: "{from}から{to}までのヘルスは{first}から{last}(最低{low}、最高{high})。",
    drivers: "理由",
    drivers_health: "ヘルススコアの内訳",
    drivers_health_unit: "50点からの増減",
    drivers_churn_risk: "解約リスクの内訳",
    drivers_churn_risk_unit: "オッズの倍率",
    drivers_expansion: "拡大余地の内訳",
    usual: "普段 {n}",
    drivers_none: "判明している指標がまだありません。",
    helps: "プラス要因",
    hurts: "マイナス要因",
    points: "{n}点",
    odds: "×{n}",
    alerts: "アラート",
    alert_opened: "発生",
    alert_escalated: "悪化",
    alert_acknowledged: "対応中",
    alert_resolved: "解消",
    alert_retracted: "取り消し",
    milestones: "マイルストーン",
    dwell_took: "所要{n}日",
    dwell_waits: "{n}日経過",
    stages: "ステージの履歴",
    stage_since: "{from}から",
    stage_lasted: "{from}〜{to}",
    numbers: "指標",
    receipt: "内訳の証明",
    receipt_evaluated: "評価時刻",
    receipt_watermark: "取り込み済みの時刻",
    receipt_offset: "最終イベントのオフセット",
    receipt_model: "モデル",
    receipt_check: "再計算して照合",
    receipt_checking: "元のイベントから計算しています…",
    receipt_same: "イベントから再計算した指標とスコアは一致しました。",
    receipt_differs: "{n}件の値が一致しません: {names}",
    receipt_save: "JSONで保存",
    receipt_sql: "指標とスコアを再計算するSQL",
    events: "最近のイベント",
    events_none: "イベントはありません。",
    event_login: "ログイン",
    event_feature: "機能",
    event_milestone: "達成",
    event_account: "属性",
    event_user: "ユーザー",
    event_contract: "契約",
    event_ticket: "問い合わせ",
    event_survey: "アンケート",
    event_engagement: "関与",
    event_error: "エラー",
    event_action: "チーム",
    views: "表示の切り替え",
    open_alerts: "発生中のアラート",
    alerts_none: "発生中のアラートはありません。",
    alert_since: "{time}から",
    alert_actions: "{name}の{rule}への対応",
    alert_state_open: "未対応",
    alert_state_acknowledged: "対応中",
    alert_state_snoozed: "スヌーズ中",
    alert_state_resolving: "解消処理中",
    severity_info: "情報",
    severity_warning: "警告",
    severity_critical: "重大",
    who: "対応者",
    who_hint: "お名前",
    who_wanted: "先に対応者の名前を入力してください。",
    acknowledge: "対応する",
    snooze: "スヌーズ",
    snooze_days: "{n}日",
    snooze_for: "{n}日間スヌーズ",
    resolve: "解消",
    note: "メモ…",
    note_text: "メモ（次の操作にも添付）",
    note_save: "メモを保存",
    note_wanted: "先にメモを入力してください。",
    playbook: "プレイブック",
    acknowledged_by: "{time}から{by}が対応中",
    snoozed_until: "{time}までスヌーズ",
    noted: "「{note}」（{by}）",
    action_sending: "送信中…",
    action_done: "記録しました。",
    action_failed: "記録できませんでした: {detail}",
    evaluated: "{time}に評価",
    gone: "このアカウントは見つかりません。",
    per_user: "1人あたり{n}回",
    days: "{n}日",
    workdays: "{n}営業日",
    sigmas: "{n}σ",
    times: "{n}",
    outcome: "通知は役に立ったか",
    outcome_note: "通知したアカウントと、あえて通知しなかった対照群を並べています。アラートは状態が最も悪い時に出て、多くは自然に回復するため、通知の効果を示すのは両者の差だけです。帯は95%信頼区間。各アカウントはルールごとに最初の1回だけを数えます。",
    outcome_none: "まだ比べるものがありません。アラートは一度も出ていません。",
    outcome_until: "アラートから{days}日後の状態({time}までのデータ)",
    outcome_failed: "{time}に読み込めませんでした。",
    outcome_period: "アラートからの日数",
    outcome_days: "{n}日後",
    outcome_at_risk: "リスク",
    outcome_opportunity: "機会",
    outcome_arm: "アカウント",
    outcome_accounts: "件数",
    outcome_recovered: "アラート解消",
    outcome_retained: "契約継続",
    outcome_health_change: "ヘルスの変化",
    outcome_waiting: "(うち経過待ち{n})",
    outcome_less: "{one} − {other}",
    outcome_points: "{n}ポイント",
    outcome_bounds: "{low} 〜 {high}",
    outcome_clear: "偶然とは言えない差",
    outcome_unclear: "偶然かもしれない差",
    outcome_doubtful: "判断には不十分（注意を参照）",
    arm_told: "通知した",
    arm_held_out: "対照群",
    arm_shadow: "記録のみ",
    arm_nobody: "誰にも届かず",
  },
};

const REMEMBERED = "mimamori.language";
const DAY = 86_400_000;

let language = "en";
let formats = {};

/** The language asked for in the address, else the one chosen before, else the document's. */
export function startLanguage() {
  const asked = new URLSearchParams(location.search).get("lang");
  const candidates = [asked, remembered(), document.documentElement.lang];
  useLanguage(candidates.find((candidate) => candidate && Object.hasOwn(WORDS, candidate)) ?? "en", false);
}

export function useLanguage(chosen, remember) {
  language = chosen;
  document.documentElement.lang = chosen;
  formats = makeFormats(chosen);
  if (remember) {
    try {
      localStorage.setItem(REMEMBERED, chosen);
    } catch {
      // A browser that keeps nothing still shows the page.
    }
  }
  for (const element of document.querySelectorAll("[data-t]")) {
    element.textContent = t(element.dataset.t);
  }
  for (const element of document.querySelectorAll("[data-t-label]")) {
    element.setAttribute("aria-label", t(element.dataset.tLabel));
  }
  for (const element of document.querySelectorAll("[data-t-placeholder]")) {
    element.placeholder = t(element.dataset.tPlaceholder);
  }
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === chosen));
  }
}

export function currentLanguage() {
  return language;
}

/** The text of `key`, with `{name}` filled in. */
export function t(key, values = {}) {
  const text = WORDS[language][key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}

/** The text of `prefix_value`, or the value itself when there is none. */
export function named(prefix, value) {
  return WORDS[language][`${prefix}_${value}`] ?? value;
}

/** Of a text that the API gives in both languages. */
export function said(both) {
  return both?.[language] ?? both?.en ?? "";
}

export function whole(value) {
  return value == null ? t("none") : formats.whole.format(value);
}

export function oneDecimal(value) {
  return value == null ? t("none") : formats.decimal.format(value);
}

export function percent(value) {
  return value == null ? t("none") : formats.percent.format(value);
}

export function signed(value) {
  return formats.signed.format(value);
}

export function signedDecimal(value) {
  return formats.signedDecimal.format(value);
}

export function factor(value) {
  return formats.factor.format(value);
}

/** Money in its currency; a bare number when the currency is not known or is none. */
export function money(amount, currency, compact = false) {
  if (amount == null) {
    return t("none");
  }
  try {
    return new Intl.NumberFormat(language, {
      style: "currency",
      currency,
      currencyDisplay: "narrowSymbol",
      maximumFractionDigits: compact ? 1 : 0,
      notation: compact ? "compact" : "standard",
    }).format(amount);
  } catch {
    return formats.whole.format(amount);
  }
}

/** "today", "3 days ago". */
export function daysAgo(days) {
  return days == null ? t("none") : formats.relative.format(-days, "day");
}

export function clock(instant) {
  return formats.clock.format(instant);
}

export function date(text) {
  return text == null ? t("none") : formats.date.format(new Date(text));
}

export function dayOfMonth(instant) {
  return formats.day.format(instant);
}

/** A moment as people say it: the time on the same day, else the date with the time. */
export function moment(text) {
  if (text == null) {
    return t("none");
  }
  const instant = new Date(text);
  const isRecent = Math.abs(Date.now() - instant) < DAY;
  return (isRecent ? formats.clock : formats.dateTime).format(instant);
}

function makeFormats(locale) {
  const number = (options) => new Intl.NumberFormat(locale, options);
  const time = (options) => new Intl.DateTimeFormat(locale, options);
  return {
    whole: number({ maximumFractionDigits: 0 }),
    decimal: number({ maximumFractionDigits: 1 }),
    percent: number({ style: "percent", maximumFractionDigits: 0 }),
    signed: number({ maximumFractionDigits: 0, signDisplay: "exceptZero" }),
    signedDecimal: number({ minimumFractionDigits: 1, maximumFractionDigits: 1, signDisplay: "exceptZero" }),
    factor: number({ minimumFractionDigits: 2, maximumFractionDigits: 2 }),
    relative: new Intl.RelativeTimeFormat(locale, { numeric: "auto" }),
    clock: time({ hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }),
    date: time({ year: "numeric", month: "short", day: "numeric" }),
    day: time({ month: "numeric", day: "numeric" }),
    dateTime: time({ month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" }),
  };
}

function remembered() {
  try {
    return localStorage.getItem(REMEMBERED);
  } catch {
    return null;
  }
}
