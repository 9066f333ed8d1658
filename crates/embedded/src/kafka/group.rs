//! One consumer group of the classic protocol, as a state machine: time comes in as a parameter, answers
//! that must wait go out through one-shot channels.
//!
//! Holds: all members of a generation got the same protocol, and their assignments came from one leader
//! of that generation. A member that stops sending, or does not rejoin in time, is removed and the rest
//! rebalance. The group never looks into a member's metadata or assignment, so any client-side strategy
//! works (range, cooperative-sticky, …).
//!
//! ```text
//!            join                 all joined            leader's sync
//!  Empty ───────────▶ Joining ───────────────▶ Syncing ───────────────▶ Stable
//!    ▲                  ▲ ▲                       │  new member, leave,    │
//!    │   none joined    │ └───────────────────────┘  expiry, new metadata  │
//!    └──────────────────┘ ◀────────────────────────────────────────────────┘
//! ```

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;

/// Ids given out that nobody has joined with yet; more are refused.
const MOST_PROMISED_IDS: usize = 1_000;

/// A request to join.
#[derive(Debug, Clone, Default)]
pub struct Join {
    pub member_id: StrBytes,
    pub instance: Option<StrBytes>,
    pub client_id: StrBytes,
    pub client_host: StrBytes,
    pub session: Duration,
    pub rebalance: Duration,
    pub protocol_type: StrBytes,
    /// Names in order of preference, each with the member's metadata.
    pub protocols: Vec<(StrBytes, Bytes)>,
    /// Whether a newcomer must come back with the id it is given.
    pub id_required: bool,
}

/// The answer to a [`Join`].
#[derive(Debug, Clone, PartialEq)]
pub struct Joined {
    pub error: Option<ResponseError>,
    pub generation: i32,
    pub protocol_type: StrBytes,
    pub protocol: StrBytes,
    pub leader: StrBytes,
    pub member_id: StrBytes,
    /// For the leader only: id, instance and metadata of everyone.
    pub members: Vec<(StrBytes, Option<StrBytes>, Bytes)>,
}

impl Joined {
    pub fn refused(error: ResponseError, member_id: StrBytes) -> Self {
        Joined {
            error: Some(error),
            generation: -1,
            protocol_type: StrBytes::default(),
            protocol: StrBytes::default(),
            leader: StrBytes::default(),
            member_id,
            members: Vec::new(),
        }
    }
}

/// The answer to a sync: the member's assignment.
pub type Synced = Result<Bytes, ResponseError>;

/// A member as others see it.
pub struct Member {
    pub instance: Option<StrBytes>,
    pub client_id: StrBytes,
    pub client_host: StrBytes,
    pub assignment: Bytes,
    session: Duration,
    rebalance: Duration,
    protocols: Vec<(StrBytes, Bytes)>,
    expires: Instant,
    joining: Option<oneshot::Sender<Joined>>,
    syncing: Option<oneshot::Sender<Synced>>,
}

impl Member {
    /// Its metadata for a protocol.
    pub fn metadata(&self, protocol: &StrBytes) -> Bytes {
        let own = self.protocols.iter().find(|(name, _)| name == protocol);
        own.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    fn supports(&self, protocol: &StrBytes) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// A member whose request is being held cannot send heartbeats; if it hung up, it could.
    fn is_waiting(&self) -> bool {
        let joining = self.joining.as_ref().is_some_and(|joining| !joining.is_closed());
        joining || self.syncing.as_ref().is_some_and(|syncing| !syncing.is_closed())
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Empty,
    Joining { not_before: Instant, until: Instant },
    Syncing { until: Instant },
    Stable,
}

/// A consumer group.
pub struct Group {
    phase: Phase,
    generation: i32,
    pub protocol_type: StrBytes,
    pub protocol: StrBytes,
    leader: StrBytes,
    pub members: BTreeMap<StrBytes, Member>,
    promised: HashMap<StrBytes, Instant>,
    /// How long a group that was empty waits for others after its first member.
    first_delay: Duration,
}

impl Group {
    pub fn new(first_delay: Duration) -> Self {
        Group {
            phase: Phase::Empty,
            generation: 0,
            protocol_type: StrBytes::default(),
            protocol: StrBytes::default(),
            leader: StrBytes::default(),
            members: BTreeMap::new(),
            promised: HashMap::new(),
            first_delay,
        }
    }

    /// The state's name in the protocol.
    pub fn state(&self) -> &'static str {
        match self.phase {
            Phase::Empty => "Empty",
            Phase::Joining { .. } => "PreparingRebalance",
            Phase::Syncing { .. } => "CompletingRebalance",
            Phase::Stable => "Stable",
        }
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether nothing would be lost with it.
    pub fn is_forgettable(&self) -> bool {
        self.members.is_empty() && self.promised.is_empty()
    }

    /// Takes a join; `fresh_id` makes an id for a newcomer. The answer comes through `reply`, at once or
    /// when the round is complete.
    pub fn join(
        &mut self,
        now: Instant,
        mut join: Join,
        fresh_id: impl FnOnce() -> StrBytes,
        reply: oneshot::Sender<Joined>,
    ) {
        if let Err(error) = self.admit(now, &mut join, fresh_id) {
            // A receiver that hung up needs no answer, here and below.
            let _ = reply.send(Joined::refused(error, join.member_id));
            return;
        }
        let id = join.member_id.clone();
        let known = self.members.get(&id);
        let unchanged = known.is_some_and(|member| member.protocols == join.protocols);
        let answer_now = match self.phase {
            Phase::Stable => unchanged && id != self.leader,
            Phase::Syncing { .. } => unchanged,
            _ => false,
        };
        let member = self.members.entry(id.clone()).or_insert_with(|| Member {
            instance: None,
            client_id: StrBytes::default(),
            client_host: StrBytes::default(),
            assignment: Bytes::new(),
            session: join.session,
            rebalance: join.rebalance,
            protocols: Vec::new(),
            expires: now,
            joining: None,
            syncing: None,
        });
        (member.instance, member.client_id, member.client_host) =
            (join.instance, join.client_id, join.client_host);
        (member.session, member.rebalance) = (join.session, join.rebalance);
        member.protocols = join.protocols;
        member.expires = now + join.session;
        member.joining = Some(reply);
        if answer_now {
            self.answer_join(now, &id);
            return;
        }
        self.protocol_type = join.protocol_type;
        self.begin_round(now);
        self.complete_round_if_due(now);
    }

    /// Checks a join and settles its member id.
    fn admit(
        &mut self,
        now: Instant,
        join: &mut Join,
        fresh_id: impl FnOnce() -> StrBytes,
    ) -> Result<(), ResponseError> {
        if join.protocols.is_empty() {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        if !self.members.is_empty() {
            let others = || {
                self.members
                    .iter()
                    .filter(|(id, _)| **id != join.member_id)
                    .map(|(_, m)| m)
            };
            let shared = |name| others().all(|member| member.supports(name));
            let agrees = join.protocols.iter().any(|(name, _)| shared(name));
            if join.protocol_type != self.protocol_type || !agrees {
                return Err(ResponseError::InconsistentGroupProtocol);
            }
        }
        if join.member_id.is_empty() {
            return self.admit_newcomer(now, join, fresh_id);
        }
        if self.promised.remove(&join.member_id).is_some() {
            return Ok(());
        }
        self.known(&join.member_id, join.instance.as_ref())
    }

    fn admit_newcomer(
        &mut self,
        now: Instant,
        join: &mut Join,
        fresh_id: impl FnOnce() -> StrBytes,
    ) -> Result<(), ResponseError> {
        join.member_id = fresh_id();
        if let Some(instance) = &join.instance {
            // A static member that was restarted takes the place of what it was before.
            let before = self
                .members
                .iter()
                .find(|(_, member)| member.instance.as_ref() == Some(instance));
            if let Some(id) = before.map(|(id, _)| id.clone()) {
                self.remove(&id, ResponseError::FencedInstanceId);
            }
            return Ok(());
        }
        if !join.id_required {
            return Ok(());
        }
        if self.promised.len() >= MOST_PROMISED_IDS {
            return Err(ResponseError::GroupMaxSizeReached);
        }
        self.promised.insert(join.member_id.clone(), now + join.session);
        Err(ResponseError::MemberIdRequired)
    }

    /// Begins a round of joining unless one is under way.
    fn begin_round(&mut self, now: Instant) {
        let not_before = match self.phase {
            Phase::Joining { .. } => return,
            Phase::Empty => now + self.first_delay,
            _ => now,
        };
        for member in self.members.values_mut() {
            if let Some(syncing) = member.syncing.take() {
                let _ = syncing.send(Err(ResponseError::RebalanceInProgress));
            }
        }
        self.phase = Phase::Joining {
            not_before,
            until: now + self.longest_rebalance(),
        };
    }

    fn longest_rebalance(&self) -> Duration {
        self.members
            .values()
            .map(|member| member.rebalance)
            .max()
            .unwrap_or_default()
    }

    fn complete_round_if_due(&mut self, now: Instant) {
        let Phase::Joining { not_before, until } = self.phase else {
            return;
        };
        let all_joined = self.members.values().all(|member| member.joining.is_some());
        if !(all_joined && now >= not_before) && now < until {
            return;
        }
        self.members.retain(|_, member| member.joining.is_some());
        let Some(first) = self.members.keys().next().cloned() else {
            self.phase = Phase::Empty;
            return;
        };
        if !self.members.contains_key(&self.leader) {
            self.leader = first;
        }
        self.generation += 1;
        self.protocol = self.choose_protocol();
        self.phase = Phase::Syncing {
            until: now + self.longest_rebalance(),
        };
        let ids: Vec<StrBytes> = self.members.keys().cloned().collect();
        for id in ids {
            self.answer_join(now, &id);
        }
    }

    /// The protocol that most members prefer among those that all support.
    fn choose_protocol(&self) -> StrBytes {
        let shared = |name: &StrBytes| self.members.values().all(|member| member.supports(name));
        let mut votes: BTreeMap<&StrBytes, usize> = BTreeMap::new();
        for member in self.members.values() {
            let preferred = member
                .protocols
                .iter()
                .map(|(name, _)| name)
                .find(|name| shared(name));
            if let Some(name) = preferred {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.into_iter().max_by_key(|(_, count)| *count);
        most.map(|(name, _)| name.clone()).unwrap_or_default()
    }

    fn answer_join(&mut self, now: Instant, id: &StrBytes) {
        let mut members = Vec::new();
        if *id == self.leader {
            for (id, member) in &self.members {
                members.push((
                    id.clone(),
                    member.instance.clone(),
                    member.metadata(&self.protocol),
                ));
            }
        }
        let joined = Joined {
            error: None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member_id: id.clone(),
            members,
        };
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        member.expires = now + member.session;
        if let Some(joining) = member.joining.take() {
            let _ = joining.send(joined);
        }
    }

    /// Takes a member's sync, with everyone's assignments when it comes from the leader.
    pub fn sync(
        &mut self,
        now: Instant,
        generation: i32,
        member_id: &StrBytes,
        instance: Option<&StrBytes>,
        assignments: Vec<(StrBytes, Bytes)>,
        reply: oneshot::Sender<Synced>,
    ) {
        let refusal = match (self.current(generation, member_id, instance), self.phase) {
            (Err(error), _) => Some(error),
            (Ok(()), Phase::Empty) => Some(ResponseError::UnknownMemberId),
            (Ok(()), Phase::Joining { .. }) => Some(ResponseError::RebalanceInProgress),
            (Ok(()), Phase::Syncing { .. } | Phase::Stable) => None,
        };
        let Some(member) = self.members.get_mut(member_id) else {
            let _ = reply.send(Err(refusal.unwrap_or(ResponseError::UnknownMemberId)));
            return;
        };
        if let Some(error) = refusal {
            let _ = reply.send(Err(error));
            return;
        }
        member.expires = now + member.session;
        member.syncing = Some(reply);
        let by_leader = *member_id == self.leader;
        if by_leader && matches!(self.phase, Phase::Syncing { .. }) {
            let mut assignments: HashMap<StrBytes, Bytes> = assignments.into_iter().collect();
            for (id, member) in &mut self.members {
                member.assignment = assignments.remove(id).unwrap_or_default();
            }
            self.phase = Phase::Stable;
        }
        if self.phase != Phase::Stable {
            return;
        }
        for member in self.members.values_mut() {
            if let Some(syncing) = member.syncing.take() {
                member.expires = now + member.session;
                let _ = syncing.send(Ok(member.assignment.clone()));
            }
        }
    }

    /// Takes a sign of life; tells the member to rejoin while a round is under way.
    pub fn heartbeat(
        &mut self,
        now: Instant,
        generation: i32,
        member_id: &StrBytes,
        instance: Option<&StrBytes>,
    ) -> Result<(), ResponseError> {
        self.current(generation, member_id, instance)?;
        if let Some(member) = self.members.get_mut(member_id) {
            member.expires = now + member.session;
        }
        match self.phase {
            Phase::Joining { .. } => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Removes a member that leaves; a static one may be named by its instance alone.
    pub fn leave(
        &mut self,
        now: Instant,
        member_id: &StrBytes,
        instance: Option<&StrBytes>,
    ) -> Result<(), ResponseError> {
        if self.promised.remove(member_id).is_some() {
            return Ok(());
        }
        let by_instance = |member: &Member| instance.is_some() && member.instance.as_ref() == instance;
        let id = match member_id.is_empty() {
            true => self
                .members
                .iter()
                .find(|(_, member)| by_instance(member))
                .map(|(id, _)| id.clone()),
            false => Some(member_id.clone()),
        };
        let id = id.ok_or(ResponseError::UnknownMemberId)?;
        self.known(&id, instance)?;
        self.remove(&id, ResponseError::UnknownMemberId);
        self.begin_round(now);
        self.complete_round_if_due(now);
        Ok(())
    }

    fn remove(&mut self, id: &StrBytes, why: ResponseError) {
        let Some(mut member) = self.members.remove(id) else {
            return;
        };
        if let Some(joining) = member.joining.take() {
            let _ = joining.send(Joined::refused(why, id.clone()));
        }
        if let Some(syncing) = member.syncing.take() {
            let _ = syncing.send(Err(why));
        }
    }

    /// Whether the group accepts a commit from this member. Without a generation, it does so only while
    /// it has no members.
    pub fn may_commit(
        &mut self,
        now: Instant,
        generation: i32,
        member_id: &StrBytes,
        instance: Option<&StrBytes>,
    ) -> Result<(), ResponseError> {
        if generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        self.current(generation, member_id, instance)?;
        if let Some(member) = self.members.get_mut(member_id) {
            member.expires = now + member.session;
        }
        match self.phase {
            Phase::Syncing { .. } => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    fn current(
        &self,
        generation: i32,
        member_id: &StrBytes,
        instance: Option<&StrBytes>,
    ) -> Result<(), ResponseError> {
        self.known(member_id, instance)?;
        match generation == self.generation {
            true => Ok(()),
            false => Err(ResponseError::IllegalGeneration),
        }
    }

    fn known(&self, member_id: &StrBytes, instance: Option<&StrBytes>) -> Result<(), ResponseError> {
        if let Some(instance) = instance {
            let holder = self
                .members
                .iter()
                .find(|(_, member)| member.instance.as_ref() == Some(instance));
            if holder.is_some_and(|(id, _)| id != member_id) {
                return Err(ResponseError::FencedInstanceId);
            }
        }
        match self.members.contains_key(member_id) {
            true => Ok(()),
            false => Err(ResponseError::UnknownMemberId),
        }
    }

    /// Does what is due and tells when to come back.
    pub fn tick(&mut self, now: Instant) -> Option<Instant> {
        self.promised.retain(|_, expires| *expires > now);
        let expired = |member: &Member| member.expires <= now && !member.is_waiting();
        let gone = self
            .members
            .iter()
            .filter(|(_, member)| expired(member))
            .map(|(id, _)| id.clone());
        let mut gone: Vec<StrBytes> = gone.collect();
        if let Phase::Syncing { until } = self.phase
            && until <= now
        {
            // The leader never sent the assignments, or some never asked for theirs.
            gone.extend(
                self.members
                    .iter()
                    .filter(|(_, m)| m.syncing.is_none())
                    .map(|(id, _)| id.clone()),
            );
        }
        for id in &gone {
            self.remove(id, ResponseError::UnknownMemberId);
        }
        if !gone.is_empty() {
            self.begin_round(now);
        }
        self.complete_round_if_due(now);
        let phase_due = match self.phase {
            Phase::Joining { not_before, until } if now < not_before => Some(not_before.min(until)),
            Phase::Joining { until, .. } | Phase::Syncing { until } => Some(until),
            _ => None,
        };
        // One that waits past its expiry is looked at again when its phase is due.
        let expiries = self
            .members
            .values()
            .map(|member| member.expires)
            .filter(|expires| *expires > now);
        let promises = self.promised.values().copied();
        phase_due.into_iter().chain(expiries).chain(promises).min()
    }
}
