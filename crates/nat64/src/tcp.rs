//! The TCP state machine of RFC 6146 3.5.2.2, as a pure function: state and packet in, verdict out.
//! Departures that users rely on: FIN is looked at before RST; in TRANS a packet with RST never revives; RST while one
//! side has finished may shorten the lifetime (`handle-rst-during-fin-rcv`).

use crate::types::{TcpFlags, Timer};

/// State of a TCP session. The numbers are those of the session synchronization format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TcpState {
    /// Both sides sent a SYN.
    Established = 0,
    /// The IPv6 side sent a SYN.
    V6Init = 1,
    /// The IPv4 side sent a SYN; under filtering it is being held.
    V4Init = 2,
    /// The IPv4 side sent a FIN.
    V4FinRcv = 3,
    /// The IPv6 side sent a FIN.
    V6FinRcv = 4,
    /// Both sides sent a FIN.
    V4FinV6FinRcv = 5,
    /// Reset or silent; about to go.
    Trans = 6,
}

/// Where a packet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    V6,
    V4,
}

/// What a packet does to its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Translated; the session stays as it is, its lifetime too.
    Keep,
    /// Translated; lifetime (re)started under this timer.
    Restart(Timer),
    /// Translated; another state, with the lifetime started anew or (`None`) untouched.
    Enter(TcpState, Option<Timer>),
    /// Dropped: the connection's SYN is being held.
    SynHeld,
}

/// One row of the state table. `held`: the session's own SYN is stored (type 2).
pub(crate) fn step(
    state: TcpState,
    held: bool,
    side: Side,
    flags: TcpFlags,
    handle_rst_during_fin_rcv: bool,
) -> Verdict {
    use Timer::{Established as Est, Transitory};
    use Verdict::{Enter, Keep, Restart};

    let opens = Enter(TcpState::Established, Some(Est));
    let half_closed = |finishes: bool| match flags {
        TcpFlags { fin: true, .. } if finishes => Enter(TcpState::V4FinV6FinRcv, Some(Transitory)),
        TcpFlags { fin: false, rst: true, .. } if handle_rst_during_fin_rcv => Restart(Transitory),
        _ => Restart(Est),
    };
    match (state, side) {
        (TcpState::V6Init, Side::V6) if flags.syn => Restart(Transitory),
        (TcpState::V6Init, Side::V4) if flags.syn => opens,
        (TcpState::V6Init, _) => Keep,

        (TcpState::V4Init, Side::V6) if flags.syn => opens,
        (TcpState::V4Init, Side::V4) if held => Verdict::SynHeld,
        (TcpState::V4Init, _) => Keep,

        (TcpState::Established, Side::V6) if flags.fin => Enter(TcpState::V6FinRcv, None),
        (TcpState::Established, Side::V4) if flags.fin => Enter(TcpState::V4FinRcv, None),
        (TcpState::Established, _) if flags.rst => Enter(TcpState::Trans, Some(Transitory)),
        (TcpState::Established, _) => Restart(Est),

        (TcpState::V4FinRcv, side) => half_closed(side == Side::V6),
        (TcpState::V6FinRcv, side) => half_closed(side == Side::V4),
        (TcpState::V4FinV6FinRcv, _) => Keep,

        (TcpState::Trans, _) if flags.rst => Keep,
        (TcpState::Trans, _) => opens,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Side::{V4, V6};
    use TcpState::*;
    use Verdict::*;

    const SYN: TcpFlags = TcpFlags { syn: true, fin: false, rst: false };
    const FIN: TcpFlags = TcpFlags { syn: false, fin: true, rst: false };
    const RST: TcpFlags = TcpFlags { syn: false, fin: false, rst: true };
    const OTHER: TcpFlags = TcpFlags { syn: false, fin: false, rst: false };
    const FIN_RST: TcpFlags = TcpFlags { syn: false, fin: true, rst: true };
    const COLUMNS: [(Side, TcpFlags); 8] =
        [(V6, SYN), (V4, SYN), (V6, FIN), (V4, FIN), (V6, RST), (V4, RST), (V6, OTHER), (V4, OTHER)];

    /// The whole table, one line per state, columns as in `COLUMNS`.
    #[test]
    fn every_cell() {
        let est = Restart(Timer::Established);
        let open = Enter(Established, Some(Timer::Established));
        let trans = Restart(Timer::Transitory);
        let reset = Enter(Trans, Some(Timer::Transitory));
        let both = Enter(V4FinV6FinRcv, Some(Timer::Transitory));
        let table = [
            (V6Init, false, [trans, open, Keep, Keep, Keep, Keep, Keep, Keep]),
            (V4Init, false, [open, Keep, Keep, Keep, Keep, Keep, Keep, Keep]),
            (V4Init, true, [open, SynHeld, Keep, SynHeld, Keep, SynHeld, Keep, SynHeld]),
            (
                Established,
                false,
                [est, est, Enter(V6FinRcv, None), Enter(V4FinRcv, None), reset, reset, est, est],
            ),
            (V4FinRcv, false, [est, est, both, est, est, est, est, est]),
            (V6FinRcv, false, [est, est, est, both, est, est, est, est]),
            (V4FinV6FinRcv, false, [Keep; 8]),
            (Trans, false, [open, open, open, open, Keep, Keep, open, open]),
        ];
        for (state, held, row) in table {
            for ((side, flags), expected) in COLUMNS.into_iter().zip(row) {
                assert_eq!(
                    step(state, held, side, flags, false),
                    expected,
                    "{state:?} {held} {side:?} {flags:?}"
                );
                // The option changes the two RST cells of the half-closed states and nothing else.
                let shortens = flags == RST && matches!(state, V4FinRcv | V6FinRcv);
                let expected = if shortens { trans } else { expected };
                assert_eq!(
                    step(state, held, side, flags, true),
                    expected,
                    "{state:?} {side:?} {flags:?} option"
                );
            }
        }
    }

    #[test]
    fn fin_is_looked_at_before_rst_but_not_in_trans() {
        assert_eq!(step(Established, false, V6, FIN_RST, false), Enter(V6FinRcv, None));
        assert_eq!(step(V4FinRcv, false, V6, FIN_RST, true), Enter(V4FinV6FinRcv, Some(Timer::Transitory)));
        assert_eq!(step(Trans, false, V6, FIN_RST, false), Keep);
    }
}
