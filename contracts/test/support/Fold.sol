// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IRenderEscrow} from "../../IRenderEscrow.sol";
import {RenderEscrow} from "../../RenderEscrow.sol";
import {Base, Vm} from "./Base.sol";

/// @dev Builds batches from events alone, as platform/chain does, and holds them against the contract's word each time. So
/// every test that goes through here shows that the events tell everything.
abstract contract Fold is Base {
    struct CommittedData {
        address operator;
        bytes32 root;
        uint16 count;
        uint96 amount;
        uint96 stake;
        uint64 anchor;
        uint40 since;
    }

    RenderEscrow internal escrow;
    mapping(bytes32 batchKey => IRenderEscrow.Batch) private _batches;
    bytes32[] internal batchKeys;
    /// @dev What the last fold saw settle.
    uint96 internal lastPaid;
    uint96 internal lastFee;
    uint96 internal lastSlashed;
    /// @dev How often a batch ended: never more than once.
    mapping(bytes32 batchKey => uint256) internal endings;
    /// @dev How often each event came, and each outcome was settled (0: with a slash): what a run reached.
    mapping(bytes32 what => uint256) internal seen;
    mapping(uint8 outcome => uint256) internal settledAs;
    /// @dev Members of the committee of a batch, as the event names them.
    mapping(bytes32 batchKey => address[]) internal membersOf;

    function batchOf(bytes32 key) internal view returns (IRenderEscrow.Batch memory) {
        return _batches[key];
    }

    function stateOf(bytes32 key) internal view returns (IRenderEscrow.BatchState) {
        return IRenderEscrow.BatchState(_batches[key].state);
    }

    /// @dev Takes in what was logged since vm.recordLogs().
    function fold() internal {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; i++) {
            if (logs[i].emitter == address(escrow) && logs[i].topics.length > 1) _apply(logs[i]);
        }
        vm.recordLogs();
    }

    function check(bytes32 key) internal view {
        IRenderEscrow.Batch memory b = _batches[key];
        bool over = b.state >= uint8(IRenderEscrow.BatchState.Settled);
        bytes32 word = over ? bytes32(uint256(uint64(uint256(key)))) : keccak256(abi.encode(key, b));
        eq(escrow.lane(key), word, "the events tell the batch");
    }

    function _apply(Vm.Log memory log) private {
        bytes32 what = log.topics[0];
        bytes32 key = log.topics[1];
        IRenderEscrow.Batch storage b = _batches[key];
        uint8 before = b.state;
        if (what == IRenderEscrow.Committed.selector) _committed(key, b, log);
        else if (what == IRenderEscrow.Reanchored.selector) {
            (b.anchor, b.since,) = abi.decode(log.data, (uint64, uint40, address));
        } else if (what == IRenderEscrow.Drawn.selector) {
            (,, b.seed, b.verifier, b.since) = abi.decode(log.data, (bytes32, bytes32, bytes32, address, uint40));
            b.state = uint8(IRenderEscrow.BatchState.Drawn);
        } else if (what == IRenderEscrow.Replaced.selector) {
            address next;
            (, next, b.turns, b.since) = abi.decode(log.data, (address, address, uint8, uint40));
            if (before == uint8(IRenderEscrow.BatchState.Second)) b.second = next;
            else b.verifier = next;
        } else if (what == IRenderEscrow.Attested.selector) {
            _attested(b, log);
        } else if (what == IRenderEscrow.CommitteeCalled.selector) {
            (address[] memory members, address disputer, uint96 bond, uint40 since) =
                abi.decode(log.data, (address[], address, uint96, uint40));
            membersOf[key] = members;
            b.panel = keccak256(abi.encode(members));
            (b.disputer, b.bond, b.since) = (disputer, bond, since);
            b.state = uint8(IRenderEscrow.BatchState.Committee);
        } else if (what == IRenderEscrow.Judged.selector) {
            uint8 disputed = b.outcome;
            (b.outcome, b.agreed, b.last, b.since) = abi.decode(log.data, (uint8, bool, bool, uint40));
            if (before == uint8(IRenderEscrow.BatchState.Committee)) {
                b.bond = 0;
                if (b.outcome == disputed) b.disputer = address(0);
            }
            b.state = uint8(IRenderEscrow.BatchState.Judged);
        } else if (what == IRenderEscrow.Settled.selector) {
            (, lastPaid, lastFee, lastSlashed) = abi.decode(log.data, (uint8, uint96, uint96, uint96));
            b.state = uint8(IRenderEscrow.BatchState.Settled);
            endings[key] += 1;
        } else if (what == IRenderEscrow.Expired.selector) {
            b.state = uint8(IRenderEscrow.BatchState.Expired);
            endings[key] += 1;
        } else {
            return;
        }
        seen[what] += 1;
        if (b.state == uint8(IRenderEscrow.BatchState.Settled)) settledAs[b.outcome] += 1;
        if (b.state == uint8(IRenderEscrow.BatchState.Settled) && lastSlashed != 0) settledAs[0] += 1;
        _monotone(before, b.state, b.last);
    }

    function _committed(bytes32 key, IRenderEscrow.Batch storage b, Vm.Log memory log) private {
        eq(b.state, 0, "a key is committed once");
        CommittedData memory d = abi.decode(log.data, (CommittedData));
        (b.jobKey, b.operator, b.root, b.count) = (log.topics[2], d.operator, d.root, d.count);
        (b.amount, b.stake, b.anchor) = (d.amount, d.stake, d.anchor);
        (b.since, b.committedAt) = (d.since, d.since);
        b.state = uint8(IRenderEscrow.BatchState.Committed);
        batchKeys.push(key);
    }

    function _attested(IRenderEscrow.Batch storage b, Vm.Log memory log) private {
        (uint8 outcome,, address next, uint40 since) = abi.decode(log.data, (uint8, bytes32, address, uint40));
        if (b.state == uint8(IRenderEscrow.BatchState.Second)) {
            b.secondOutcome = outcome;
            return;
        }
        b.firstOutcome = outcome;
        if (next == address(0)) return;
        b.second = next;
        b.since = since;
        b.state = uint8(IRenderEscrow.BatchState.Second);
    }

    /// @dev The arrows of the diagram in IRenderEscrow, and none else.
    function _monotone(uint8 from, uint8 to, bool last) private pure {
        if (to == from) return yes(from == 1 || from == 2 || from == 3, "only who is asked, or the anchor, changes in place");
        if (to == 1) return eq(from, 0, "committed comes first");
        if (to == 2) return eq(from, 1, "drawn comes after committed");
        if (to == 3) return eq(from, 2, "a second opinion comes after drawn");
        if (to == 4) return yes(from == 3 || (from == 5 && !last), "a committee comes after a contradiction or one dispute");
        if (to == 5) return yes(from == 2 || from == 3 || from == 4, "a judgement comes after a verdict");
        if (to == 6) return eq(from, 5, "settled comes after judged");
        yes(to == 7 && from >= 1 && from <= 3, "expired comes without a judgement");
    }
}
