//! The whole model: two branches, the network between them, and what the world may still do to them.

use crate::branch::{Branch, Row};
use crate::destination;
use crate::greeting;
use crate::message::{Answer, Asked, Network, Outcome, Request, Told};
use crate::rules::{Bug, Contact, Place, Rules, TRANSFERS};
use crate::source;
use stateright::{Model, Property};

/// One state of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bank {
    branches: [Branch; 2],
    pub(crate) network: Network,
    /// Which transfers are past their deadline.
    pub(crate) is_late: [bool; TRANSFERS],
    crashes_left: u8,
    restores_left: u8,
    pub(crate) seen: Seen,
}

/// What a spectator notes who sees both branches at once. No rule looks at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    /// The latest life of the restored branch that the other one has heard.
    heard_life: u8,
    /// The destination credited a transfer after it had heard a later life of the source, which does not know of it.
    pub(crate) credited_what_was_forgotten: bool,
}

/// Something that happens to a bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The payer orders a transfer; debit and outbox row are one commit.
    Order(u8),
    /// The destination receives a request.
    Receive(Request),
    /// The source hears an answer.
    Hear(Answer),
    /// The branches compare where they stand.
    Greet,
    DeadlinePasses(u8),
    PayeeCloses(Place),
    /// The branch ends at once and opens again.
    Crash(Place),
    /// The branch ends, and opens again from the first rows of its journal.
    OpenOlderCopy(Place, usize),
    /// A bug's second commit.
    List(u8),
    /// A bug's return without asking.
    Void(u8),
    /// A bug's inbox loses an id.
    Forget(Place, usize),
}

impl Bank {
    pub(crate) fn branch(&self, place: Place) -> &Branch {
        &self.branches[place as usize]
    }

    fn branch_mut(&mut self, place: Place) -> &mut Branch {
        &mut self.branches[place as usize]
    }

    pub(crate) fn source(&self, rules: &Rules, transfer: u8) -> &Branch {
        self.branch(rules.transfers[usize::from(transfer)].from)
    }

    pub(crate) fn destination(&self, rules: &Rules, transfer: u8) -> &Branch {
        self.branch(rules.transfers[usize::from(transfer)].from.peer())
    }

    /// The protocol's own steps, which go on when no fault happens any more. Orders are not among them.
    fn protocol_steps(&self, rules: &Rules) -> impl Iterator<Item = Step> + '_ {
        let greet = (rules.contact == Contact::Greeting).then_some(Step::Greet);
        let receive = self.network.requests().iter().map(|&request| Step::Receive(request));
        receive.chain(self.network.answers().iter().map(|&answer| Step::Hear(answer))).chain(greet)
    }

    /// Whether, without a further fault or order, nothing more need happen: whatever the branches that live now say is
    /// heard. Messages of earlier lives may still come, but nothing may depend on them.
    ///
    /// No run is endless (each step adds to a journal, the network or a memory, or uses up a fault), so every run
    /// without further faults comes to such a state, if what is sent again for ever is heard at last.
    pub(crate) fn is_at_rest(&self, rules: &Rules) -> bool {
        let is_said_now = |step: &Step| match *step {
            Step::Receive(request) => request.life == self.branch(request.from).life,
            Step::Hear(answer) => answer.epoch == self.branch(answer.from).epoch(),
            _ => true,
        };
        self.protocol_steps(rules).filter(is_said_now).all(|step| self.after(rules, step).is_none())
    }

    /// The state after a step, or nothing if the step is not possible or changes nothing.
    fn after(&self, rules: &Rules, step: Step) -> Option<Self> {
        let mut next = self.clone();
        next.take(rules, step);
        next.send_everything(rules);
        next.forget_what_nobody_hears(rules);
        (next != *self).then_some(next)
    }

    fn take(&mut self, rules: &Rules, step: Step) {
        let place_of = |transfer: u8| rules.transfers[usize::from(transfer)].from;
        match step {
            Step::Order(transfer) => {
                let row = source::order(self.source(rules, transfer), rules, transfer);
                self.branch_mut(place_of(transfer)).journal.extend(row);
            }
            Step::List(transfer) => {
                let row = source::list(self.source(rules, transfer), transfer);
                self.branch_mut(place_of(transfer)).journal.extend(row);
            }
            Step::Void(transfer) => {
                let row = Row::Ended { transfer, outcome: Outcome::Cancelled, peer_epoch: 0 };
                self.branch_mut(place_of(transfer)).journal.push(row);
            }
            Step::Receive(request) => self.receive(rules, request),
            Step::Hear(answer) => self.hear(rules, answer),
            Step::Greet => {
                let [one, two] = &mut self.branches;
                greeting::greet(one, two, rules);
            }
            Step::DeadlinePasses(transfer) => self.is_late[usize::from(transfer)] = true,
            Step::PayeeCloses(place) => self.branch_mut(place).journal.push(Row::PayeeClosed),
            Step::Forget(place, arrival) => {
                let forgotten = self.branch(place).inbox().nth(arrival).map(|(id, ..)| Row::Forgot { id });
                self.branch_mut(place).journal.extend(forgotten);
            }
            Step::Crash(place) => {
                self.crashes_left -= 1;
                let branch = self.branch_mut(place);
                let is_lost = matches!(branch.journal.last(), Some(Row::Arrived { .. }));
                let lost = usize::from(is_lost && rules.has(Bug::AnswerBeforeSync));
                branch.reopen(branch.journal.len() - lost);
            }
            Step::OpenOlderCopy(place, rows) => {
                self.restores_left -= 1;
                self.branch_mut(place).reopen(rows);
            }
        }
    }

    fn receive(&mut self, rules: &Rules, request: Request) {
        let place = request.from.peer();
        let told = match destination::receive(self.branch(place), rules, request) {
            destination::Reaction::Nothing => return,
            destination::Reaction::Tell(told) => told,
            destination::Reaction::StoreAndTell(row, told) => {
                self.note(rules, request, row);
                self.branch_mut(place).journal.push(row);
                told
            }
            destination::Reaction::SuspendAndTell(told) => {
                self.branch_mut(place).suspended = true;
                told
            }
        };
        if rules.restored == Some(request.from) && told != Told::StaleEpoch {
            self.seen.heard_life = self.seen.heard_life.max(request.life);
        }
        let reaches_any_life = matches!(told, Told::Outcome(..)) && rules.contact == Contact::Loose;
        let answer = Answer {
            from: place,
            epoch: self.branch(place).epoch(),
            life: request.to_life,
            to_life: if reaches_any_life { 0 } else { request.life },
            told,
        };
        self.network.answer(answer);
    }

    fn note(&mut self, rules: &Rules, request: Request, row: Row) {
        if let Row::Arrived { id, outcome: Outcome::Credited, .. } = row
            && rules.restored == Some(request.from)
            && self.seen.heard_life == self.branch(request.from).life
            && !self.branch(request.from).is_debited(id.transfer)
        {
            self.seen.credited_what_was_forgotten = true;
        }
    }

    fn hear(&mut self, rules: &Rules, answer: Answer) {
        let branch = self.branch_mut(answer.from.peer());
        match source::hear(branch, rules, answer) {
            source::Reaction::Nothing => {}
            source::Reaction::Store(row) => branch.journal.push(row),
            source::Reaction::Suspend => branch.suspended = true,
        }
    }

    /// Whatever may be sent counts as sent, since to be lost is only not to be heard.
    fn send_everything(&mut self, rules: &Rules) {
        for place in Place::BOTH {
            if rules.contact == Contact::Calls {
                self.branch_mut(place).peer_life = self.branch(place.peer()).life;
            }
            for request in source::requests(self.branch(place), rules, place, &self.is_late) {
                self.network.ask(request);
            }
        }
        self.have_zombies_send();
    }

    /// A zombie, a life of a source that runs on beside the next, looks at its clock and finds the destination as well:
    /// what it ever sent as a credit it sends as a cancel past the deadline, and to whichever life it can call.
    fn have_zombies_send(&mut self) {
        let is_late = self.is_late;
        self.network.send_again(|request| match request.asked {
            Asked::Credit { id, pair_sequence } if is_late[usize::from(id.transfer)] => {
                Some(Request { asked: Asked::Cancel { id, pair_sequence }, ..*request })
            }
            Asked::Credit { .. } | Asked::Cancel { .. } => None,
        });
        let lives = self.branches.each_ref().map(|branch| branch.life);
        self.network.send_again(|request| {
            let is_zombie = request.life != lives[request.from as usize] && request.to_life != 0;
            is_zombie.then_some(Request { to_life: lives[request.from.peer() as usize], ..*request })
        });
    }

    /// Once a conversation is over nobody listens to what was said in it.
    fn forget_what_nobody_hears(&mut self, rules: &Rules) {
        if rules.contact != Contact::Loose {
            let [north, south] = &self.branches;
            let branch = |place| if place == Place::North { north } else { south };
            self.network.retain(
                |&request| destination::is_listening(branch(request.from.peer()), rules, request),
                |&answer| source::is_listening(branch(answer.from.peer()), rules, answer),
            );
        }
    }
}

impl Model for Rules {
    type State = Bank;
    type Action = Step;

    fn init_states(&self) -> Vec<Bank> {
        let mut bank = Bank {
            branches: [Branch::founded(), Branch::founded()],
            network: Network::default(),
            is_late: [false; TRANSFERS],
            crashes_left: self.crashes,
            restores_left: u8::from(self.restored.is_some()),
            seen: Seen::default(),
        };
        bank.send_everything(self);
        vec![bank]
    }

    fn actions(&self, bank: &Bank, steps: &mut Vec<Step>) {
        for transfer in 0..TRANSFERS as u8 {
            let place = self.transfers[usize::from(transfer)].from;
            let is_open = bank.branch(place).outbox().any(|(open, _)| open == transfer);
            steps.push(Step::Order(transfer));
            if is_open && !bank.is_late[usize::from(transfer)] {
                steps.push(Step::DeadlinePasses(transfer));
            }
            if self.has(Bug::OutboxInSecondCommit) {
                steps.push(Step::List(transfer));
            }
            if self.has(Bug::VoidOnTimeOut) && is_open && bank.is_late[usize::from(transfer)] {
                steps.push(Step::Void(transfer));
            }
            let payee = place.peer();
            if !bank.branch(payee).is_payee_closed() && !steps.contains(&Step::PayeeCloses(payee)) {
                steps.push(Step::PayeeCloses(payee));
            }
        }
        steps.extend(bank.protocol_steps(self));
        for place in Place::BOTH {
            if bank.crashes_left > 0 {
                steps.push(Step::Crash(place));
            }
            if bank.restores_left > 0 && self.restored == Some(place) {
                steps.extend((1..bank.branch(place).journal.len()).map(|rows| Step::OpenOlderCopy(place, rows)));
            }
            if self.has(Bug::InboxForgets) {
                steps.extend((0..bank.branch(place).inbox().count()).map(|arrival| Step::Forget(place, arrival)));
            }
        }
    }

    fn next_state(&self, bank: &Bank, step: Step) -> Option<Bank> {
        bank.after(self, step)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        crate::properties::of(self)
    }
}
