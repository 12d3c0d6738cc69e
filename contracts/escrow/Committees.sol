// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Funds} from "../Funds.sol";
import {IRenderEscrow} from "../IRenderEscrow.sol";
import {Permit} from "../Permit.sol";
import {EscrowBase} from "./EscrowBase.sol";

/// @title Disputes and the committees that decide them
abstract contract Committees is EscrowBase {
    bytes32 private constant VERDICT_TYPEHASH =
        keccak256("Verdict(bytes32 batchKey,bytes32 seed,uint8 outcome,bytes32 evidence)");
    bytes32 private constant DISPUTE_TYPEHASH =
        keccak256("Dispute(bytes32 batchKey,bytes32 seed,address disputer,uint96 bond)");

    /// @dev Members at most: two liars do not win, and five renders of a few crops are cheap.
    uint256 internal constant COMMITTEE = 5;
    /// @dev Members at least: below three, a majority would be everybody or one.
    uint256 internal constant SMALLEST_COMMITTEE = 3;

    /// @inheritdoc IRenderEscrow
    function dispute(Dispute calldata d, Batch calldata batch, bytes calldata signature, Permit calldata p)
        external
        nonReentrant
    {
        Batch memory b = _take(d.batchKey, batch, BatchState.Judged);
        // INVARIANT: a committee's word is the last, and a judgement that says nothing cannot be wrong.
        if (b.last || b.outcome == INCONCLUSIVE) revert NotDisputable(d.batchKey);
        // INVARIANT: a dispute speaks of this draw and no other.
        if (d.seed != b.seed) revert WrongSeed(b.seed);
        // INVARIANT: a dispute costs what it is known to cost.
        if (d.bond != _disputeBond) revert WrongBond(_disputeBond, d.bond);
        // INVARIANT: zero stands for "no disputer".
        if (d.disputer == address(0)) revert ZeroAddress();
        // INVARIANT: nobody's money is put at stake without its word.
        if (msg.sender != d.disputer) {
            _requireSigner(
                d.disputer, keccak256(abi.encode(DISPUTE_TYPEHASH, d.batchKey, d.seed, d.disputer, d.bond)), signature
            );
        }
        uint256 members = _callCommittee(d.batchKey, b, d.disputer, d.bond);
        // INVARIANT: a bond is taken only where somebody can decide.
        if (members < SMALLEST_COMMITTEE) revert CommitteeTooSmall(members);
        Funds.pull(token, d.disputer, d.bond, p);
    }

    /// @inheritdoc IRenderEscrow
    function attestCommittee(
        bytes32 batchKey,
        Batch calldata batch,
        address[] calldata members,
        uint8 outcome,
        Vote[] calldata votes
    ) external nonReentrant {
        Batch memory b = _take(batchKey, batch, BatchState.Committee);
        _requireOutcome(outcome);
        // INVARIANT: those who speak are those who were drawn.
        if (keccak256(abi.encode(members)) != b.panel) revert WrongPanel(b.panel);
        uint256 needed = members.length / 2 + 1;
        // INVARIANT: more than half of all members, not of those who came, say the same.
        if (votes.length < needed) revert TooFewVotes(votes.length, needed);
        uint256 seen = 0;
        for (uint256 i = 0; i < votes.length; i++) {
            Vote calldata v = votes[i];
            // INVARIANT: a member counts once.
            if (seen & (1 << v.member) != 0) revert VoteRepeated(v.member);
            seen |= 1 << v.member;
            _requireVerdict(members[v.member], batchKey, b.seed, outcome, v.evidence, v.signature);
            emit Voted(batchKey, members[v.member], outcome, v.evidence);
        }
        _close(batchKey, b, members, votes, outcome);
    }

    /// @inheritdoc IRenderEscrow
    function closeCommittee(bytes32 batchKey, Batch calldata batch) external {
        Batch memory b = _take(batchKey, batch, BatchState.Committee);
        uint256 until = uint256(b.since) + _committeeWindow;
        // INVARIANT: a committee has its whole window.
        if (block.timestamp <= until) revert WindowOpen(until);
        address disputer = b.disputer;
        uint96 bond = b.bond;
        b.bond = 0;
        b.disputer = address(0);
        if (disputer == address(0)) {
            _judge(batchKey, b, INCONCLUSIVE, false, true);
        } else {
            // Nobody was shown to be wrong: what was judged stands, and the bond is not lost.
            credit[disputer] += bond;
            _judge(batchKey, b, b.outcome, b.agreed, true);
        }
    }

    /// @dev Asks a committee, if there are enough for one. Returns how many there are.
    function _callCommittee(bytes32 batchKey, Batch memory b, address disputer, uint96 bond)
        internal
        returns (uint256 count)
    {
        address[] memory members = registry.pickMany(
            keccak256(abi.encode(b.seed, bytes32("committee"))),
            b.anchor,
            block.number,
            b.operator,
            _operatorOf(b.verifier),
            _operatorOf(b.second),
            COMMITTEE
        );
        count = members.length;
        if (count < SMALLEST_COMMITTEE) return count;
        if (count % 2 == 0) {
            // INVARIANT: a committee cannot be split in halves.
            count -= 1;
            assembly ("memory-safe") {
                mstore(members, count)
            }
        }
        b.panel = keccak256(abi.encode(members));
        b.disputer = disputer;
        b.bond = bond;
        _put(batchKey, b, BatchState.Committee);
        emit CommitteeCalled(batchKey, members, disputer, bond, b.since);
    }

    function _judge(bytes32 batchKey, Batch memory b, uint8 outcome, bool agreed, bool last) internal {
        b.outcome = outcome;
        b.agreed = agreed;
        b.last = last;
        _put(batchKey, b, BatchState.Judged);
        emit Judged(batchKey, outcome, agreed, last, b.since);
    }

    function _requireVerdict(
        address signer,
        bytes32 batchKey,
        bytes32 seed,
        uint8 outcome,
        bytes32 evidence,
        bytes calldata signature
    ) internal view {
        _requireSigner(signer, keccak256(abi.encode(VERDICT_TYPEHASH, batchKey, seed, outcome, evidence)), signature);
    }

    function _close(
        bytes32 batchKey,
        Batch memory b,
        address[] calldata members,
        Vote[] calldata votes,
        uint8 outcome
    ) private {
        (address disputer, uint96 bond) = (b.disputer, b.bond);
        bool right = outcome != b.outcome;
        b.bond = 0;
        if (!right) b.disputer = address(0);
        _judge(batchKey, b, outcome, outcome == FAIL, true);
        if (disputer != address(0)) {
            if (right) credit[disputer] += bond;
            else _shareBond(bond, members, votes);
        }
        address requester = _jobs[b.jobKey].requester;
        _punishWrong(batchKey, b.verifier, b.firstOutcome, outcome, requester, b.disputer);
        _punishWrong(batchKey, b.second, b.secondOutcome, outcome, requester, b.disputer);
    }

    /// @dev Only the opposite of what the committee says is wrong: who was unsure lied to nobody.
    function _punishWrong(
        bytes32 batchKey,
        address verifier,
        uint8 said,
        uint8 outcome,
        address requester,
        address disputer
    ) private {
        if (!(said == PASS && outcome == FAIL) && !(said == FAIL && outcome == PASS)) return;
        _punish(_operatorOf(verifier), _verifierPenalty, batchKey, requester, disputer);
    }

    function _shareBond(uint96 bond, address[] calldata members, Vote[] calldata votes) private {
        uint256 share = bond / votes.length;
        for (uint256 i = 0; i < votes.length; i++) {
            credit[_operatorOf(members[votes[i].member])] += share;
        }
        credit[treasury] += bond - share * votes.length;
    }
}
