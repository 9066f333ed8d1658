//! The words that the synthetic customers are made of. None needs escaping in JSON or quoting in CSV.

/// The features of the product, by name. The first [`KEY_FEATURES`]`.len()` are the key ones, the last
/// [`ADVANCED_FEATURES`]`.len()` the advanced ones.
pub const FEATURES: [&str; 22] = [
    "report.create",
    "report.export",
    "dashboard.share",
    "workflow.automate",
    "integration.sync",
    "data.import",
    "dashboard.view",
    "search.run",
    "comment.add",
    "task.create",
    "task.complete",
    "file.upload",
    "file.download",
    "template.apply",
    "notification.configure",
    "calendar.view",
    "mobile.capture",
    "member.manage",
    "api.call",
    "audit.view",
    "forecast.run",
    "access.provision",
];

/// The features that few use, and those who outgrow their plan.
pub const ADVANCED_FEATURES: [&str; 4] = ["api.call", "audit.view", "forecast.run", "access.provision"];

/// What keeps a customer once it is done, as `health.sticky_actions` names it.
pub const STICKY_ACTIONS: [&str; 3] = ["integration_connected", "second_member", "workflow.automate"];

/// The features that an account must use to get the product's value.
pub const KEY_FEATURES: [&str; 6] = [
    "report.create",
    "report.export",
    "dashboard.share",
    "workflow.automate",
    "integration.sync",
    "data.import",
];

/// The milestones of onboarding, in the order in which they are reached; the last is the value event.
pub const MILESTONES: [&str; 5] = [
    "workspace_created",
    "member_invited",
    "integration_connected",
    "first_report",
    "first_value",
];

/// The milestone at which an account has got its first value.
pub const VALUE_EVENT: &str = "first_value";

pub(crate) const VALUE_MILESTONE: usize = MILESTONES.len() - 1;

pub(crate) const PLANS: [&str; 4] = ["starter", "standard", "business", "enterprise"];
pub(crate) const ROLES: [&str; 4] = ["champion", "decision_maker", "admin", "member"];
pub(crate) const DEPARTMENTS: [&str; 8] = [
    "sales",
    "marketing",
    "finance",
    "operations",
    "support",
    "engineering",
    "people",
    "legal",
];
pub(crate) const CLIENTS: [&str; 3] = ["web", "mobile", "desktop"];
pub(crate) const SEVERITIES: [&str; 4] = ["low", "normal", "high", "urgent"];
pub(crate) const CHANNELS: [&str; 3] = ["email", "chat", "phone"];
pub(crate) const ERRORS: [&str; 5] = [
    "sync_failed",
    "export_timeout",
    "import_rejected",
    "page_crashed",
    "permission_denied",
];
pub(crate) const ERROR_SEVERITIES: [&str; 3] = ["warning", "error", "critical"];
pub(crate) const ENGAGEMENTS: [&str; 6] = [
    "help_search",
    "faq_viewed",
    "community_posted",
    "seminar_attended",
    "review_posted",
    "referral_made",
];

/// The hosts that miskeyed records carry as their key, as an app does that balances by producer.
pub(crate) const HOSTS: [&str; 6] = [
    "web-1",
    "web-2",
    "web-3",
    "batch-1",
    "mobile-gateway",
    "edge-tyo-4",
];

pub(crate) const OWNERS: [&str; 8] = [
    "佐藤 美咲",
    "鈴木 健",
    "高橋 彩",
    "田中 翔",
    "伊藤 葵",
    "渡辺 蓮",
    "Emily Carter",
    "Jonas Weber",
];

const JAPANESE_STEMS: [(&str, &str); 22] = [
    ("青葉", "aoba"),
    ("日の出", "hinode"),
    ("若葉", "wakaba"),
    ("富士見", "fujimi"),
    ("桜台", "sakuradai"),
    ("白川", "shirakawa"),
    ("北斗", "hokuto"),
    ("松風", "matsukaze"),
    ("星野", "hoshino"),
    ("みらい", "mirai"),
    ("ひかり", "hikari"),
    ("つばさ", "tsubasa"),
    ("東雲", "shinonome"),
    ("高千穂", "takachiho"),
    ("緑川", "midorikawa"),
    ("花園", "hanazono"),
    ("銀河", "ginga"),
    ("瀬戸", "seto"),
    ("宮の森", "miyanomori"),
    ("風早", "kazahaya"),
    ("月見", "tsukimi"),
    ("雪村", "yukimura"),
];

const JAPANESE_FIELDS: [(&str, &str); 14] = [
    ("商事", "shoji"),
    ("物流", "logistics"),
    ("食品", "foods"),
    ("製作所", "works"),
    ("建設", "kensetsu"),
    ("システム", "systems"),
    ("電機", "denki"),
    ("薬品", "yakuhin"),
    ("印刷", "insatsu"),
    ("不動産", "estate"),
    ("繊維", "textile"),
    ("運輸", "unyu"),
    ("設計", "design"),
    ("農園", "farm"),
];

const ENGLISH_STEMS: [(&str, &str); 20] = [
    ("Harbor", "harbor"),
    ("Cedar", "cedar"),
    ("Bluebird", "bluebird"),
    ("Granite", "granite"),
    ("Lakeside", "lakeside"),
    ("Maple", "maple"),
    ("Willow", "willow"),
    ("Copper", "copper"),
    ("Orchard", "orchard"),
    ("Beacon", "beacon"),
    ("Prairie", "prairie"),
    ("Larkspur", "larkspur"),
    ("Foxglove", "foxglove"),
    ("Stonebridge", "stonebridge"),
    ("Riverbend", "riverbend"),
    ("Ironwood", "ironwood"),
    ("Saltmarsh", "saltmarsh"),
    ("Driftwood", "driftwood"),
    ("Hollybush", "hollybush"),
    ("Thistle", "thistle"),
];

const ENGLISH_FIELDS: [(&str, &str); 12] = [
    ("Logistics", "logistics"),
    ("Foods", "foods"),
    ("Health", "health"),
    ("Software", "software"),
    ("Robotics", "robotics"),
    ("Media", "media"),
    ("Retail", "retail"),
    ("Energy", "energy"),
    ("Education", "education"),
    ("Design", "design"),
    ("Freight", "freight"),
    ("Analytics", "analytics"),
];

/// A company's name, as indices into the tables above.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Company {
    japanese: bool,
    stem: u8,
    field: u8,
    form: u8,
}

impl Company {
    /// Makes a name out of a draw; `abroad` is the legal form outside Japan.
    pub(crate) fn draw(rng: &mut crate::rng::Rng, japanese: bool, zone: u8) -> Self {
        let (stems, fields) = if japanese {
            (JAPANESE_STEMS.len(), JAPANESE_FIELDS.len())
        } else {
            (ENGLISH_STEMS.len(), ENGLISH_FIELDS.len())
        };
        let form = if japanese { rng.below(2) as u8 } else { zone };
        Self {
            japanese,
            stem: rng.below(stems as u32) as u8,
            field: rng.below(fields as u32) as u8,
            form,
        }
    }

    fn words(self) -> ((&'static str, &'static str), (&'static str, &'static str)) {
        let (stem, field) = (usize::from(self.stem), usize::from(self.field));
        if self.japanese {
            (JAPANESE_STEMS[stem], JAPANESE_FIELDS[field])
        } else {
            (ENGLISH_STEMS[stem], ENGLISH_FIELDS[field])
        }
    }

    /// The name as people write it.
    pub(crate) fn display(self) -> String {
        let ((stem, _), (field, _)) = self.words();
        match (self.japanese, self.form) {
            (true, 0) => format!("株式会社{stem}{field}"),
            (true, _) => format!("{stem}{field}株式会社"),
            (false, 0) => format!("{stem} {field} K.K."),
            (false, 1) => format!("{stem} {field}, Inc."),
            (false, 2) => format!("{stem} {field} GmbH"),
            (false, _) => format!("{stem} {field} Ltd."),
        }
    }

    /// The account's id: readable, and unique by its number.
    pub(crate) fn account_id(self, index: u32) -> String {
        let ((_, stem), (_, field)) = self.words();
        format!("{stem}-{field}-{index:04}")
    }
}
