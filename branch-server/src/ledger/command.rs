//! What can be asked of the books.

use super::{Arrival, HoldEnd, Outcome, Past, Payee, Product};
use bank_proto::{AccountSerial, BranchId, Currency, CustomerId, DecimalAmount, Money, Timestamp, TransactionKey};

/// One order. It names what is wanted; [`super::Ledger::decide`] says what then happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Open the books, and an account for one customer with money from the branch's capital.
    InitializeBranch {
        /// Whose account.
        customer: CustomerId,
        /// Zero or more.
        initial_balance: Money,
    },
    /// Make a customer known.
    RegisterCustomer {
        /// Whom.
        customer: CustomerId,
    },
    /// Open an account at zero.
    OpenAccount {
        /// The first holder.
        customer: CustomerId,
        /// What for.
        product: Product,
        /// In which currency.
        currency: Currency,
        /// The other holders, each once and none of them the first.
        joint_holders: Vec<CustomerId>,
        /// How far below zero it may go, in minor units of the currency, not negative.
        overdraft_limit: i64,
    },
    /// Pay cash in.
    Deposit {
        /// Where to. A customer's first deposit in a currency opens a checking account.
        target: Target,
        /// How much, more than zero.
        amount: AskedAmount,
    },
    /// Pay cash out.
    Withdraw {
        /// Where from.
        target: Target,
        /// How much, more than zero.
        amount: AskedAmount,
    },
    /// Pay another account of the bank.
    Transfer {
        /// Where from.
        payer: Target,
        /// Where to. A transfer never opens an account.
        payee: Payee,
        /// How much, more than zero.
        amount: AskedAmount,
    },
    /// Promise money of an account, which stays there.
    Hold {
        /// The hold's key: the order's own.
        hold: TransactionKey,
        /// Whose money.
        target: Target,
        /// How much, more than zero.
        amount: AskedAmount,
        /// For how long.
        life_seconds: u32,
        /// When it ends by itself; the teller fills it in when the order's turn comes.
        expires_at: Timestamp,
    },
    /// Pay another account of the bank out of a hold.
    Capture {
        /// The hold's key.
        hold: TransactionKey,
        /// Where to. A capture never opens an account.
        payee: Payee,
        /// How much, in the hold's currency; None for all that is left.
        amount: Option<DecimalAmount>,
        /// Whether the rest is let go.
        is_last: bool,
        /// How the hold has ended; the teller fills it in.
        ended: Option<HoldEnd>,
    },
    /// Let a hold go.
    Release {
        /// The hold's key.
        hold: TransactionKey,
        /// How it has ended; the teller fills it in.
        ended: Option<HoldEnd>,
    },
    /// End a hold whose time is over.
    Expire {
        /// The hold's key.
        hold: TransactionKey,
    },
    /// Credit a transfer that another branch sends.
    Receive {
        /// What the message says of itself; [`super::Ledger::admit`] has let it in.
        arrival: Arrival,
        /// Where to.
        payee: Target,
        /// How much, more than zero.
        amount: Money,
    },
    /// Send the money of a transfer back that another branch had sent, because that branch asks.
    Return {
        /// What the message says of itself; its `transfer` is the reversal.
        arrival: Arrival,
        /// The transfer's key there.
        original: TransactionKey,
        /// How much.
        amount: Money,
        /// What the journal says of the transfer; the teller fills it in.
        past: Past,
    },
    /// Never credit a transfer that another branch has sent.
    Cancel(Arrival),
    /// End a transfer that left for another branch.
    Settle {
        /// Its key.
        transfer: TransactionKey,
        /// How it ended there.
        outcome: Outcome,
        /// The branch that said so.
        peer: BranchId,
        /// The epoch under which it did.
        peer_epoch: u64,
    },
    /// Take a transaction back, by another one.
    Reverse {
        /// Its key.
        original: TransactionKey,
        /// The key of the order itself: under it stands what another branch is asked.
        reversal: TransactionKey,
        /// What the journal says of it; the teller fills it in when the order's turn comes.
        past: Past,
    },
    /// Refuse every later movement on an account.
    Freeze(AccountSerial),
    /// Take a freeze back.
    Unfreeze(AccountSerial),
    /// Close an account at zero, for ever.
    Close(AccountSerial),
}

/// How an order names an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// The customer's oldest open checking account.
    Customer(CustomerId),
    /// The one with this number.
    Account(AccountSerial),
}

/// An amount as asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedAmount {
    /// In a currency that the caller said.
    Money(Money),
    /// In whatever currency the account has.
    InAccountCurrency(DecimalAmount),
}
