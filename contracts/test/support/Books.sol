// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {INodeRegistry} from "../../INodeRegistry.sol";
import {IRenderEscrow} from "../../IRenderEscrow.sol";
import {Farm} from "./Farm.sol";

/// @dev A second set of books, kept from what was done and not from what the contract says.
abstract contract Books is Farm {
    struct Before {
        uint256 credit;
        uint256 treasury;
        uint96 stake;
        uint96 thawing;
    }

    bytes32[] internal live;
    bytes32[] internal jobs;
    address[] internal people;
    mapping(address => bool) private _known;
    mapping(bytes32 jobKey => uint256) private _reserved;
    mapping(bytes32 jobKey => uint256) private _liveOf;
    mapping(bytes32 jobKey => uint16) private _feeOf;
    /// @dev Sent to the escrow without being asked.
    uint256 internal given;

    function remember(address who) internal {
        if (_known[who]) return;
        _known[who] = true;
        people.push(who);
    }

    function noteJob(bytes32 key) internal {
        jobs.push(key);
        _feeOf[key] = escrow.config().feeBps;
    }

    function noteCommit(bytes32 key, uint96 amount) internal {
        live.push(key);
        fold();
        bytes32 job = batchOf(key).jobKey;
        _reserved[job] += amount;
        _liveOf[job] += 1;
    }

    function noteEnd(bytes32 key) internal {
        bytes32 job = batchOf(key).jobKey;
        _reserved[job] -= batchOf(key).amount;
        _liveOf[job] -= 1;
        for (uint256 i = 0; i < live.length; i++) {
            if (live[i] != key) continue;
            live[i] = live[live.length - 1];
            live.pop();
            return;
        }
        yes(false, "what ended was under way");
    }

    function anyJob(uint256 which) internal view returns (bytes32) {
        return jobs.length == 0 ? bytes32(0) : jobs[which % jobs.length];
    }

    /// @dev A live batch in one of these states (bits), from a random place on; zero when there is none.
    function find(uint256 which, uint256 states) internal view returns (bytes32) {
        if (states == 1) states = 1 << 1;
        uint256 start = live.length == 0 ? 0 : which % live.length;
        for (uint256 i = 0; i < live.length; i++) {
            bytes32 key = live[(start + i) % live.length];
            if (states & (1 << batchOf(key).state) != 0) return key;
        }
        return 0;
    }

    function look(IRenderEscrow.Batch memory b) internal view returns (Before memory) {
        INodeRegistry.Operator memory o = registry.operatorInfo(b.operator);
        return Before(escrow.credit(b.operator), escrow.credit(treasury), o.stake, o.thawing);
    }

    /// @dev What a settlement must have done, from the rules.
    function settled(IRenderEscrow.Batch memory b, Before memory before) internal view {
        INodeRegistry.Operator memory o = registry.operatorInfo(b.operator);
        uint256 lost = uint256(before.stake) + before.thawing - o.stake - o.thawing;
        uint256 gained = escrow.credit(b.operator) - before.credit;
        if (b.outcome == PASS) {
            uint256 fee = uint256(b.amount) * _feeOf[b.jobKey] / 10_000;
            eq(lastFee, fee, "the fee of the opening");
            eq(escrow.credit(treasury) - before.treasury, fee, "to the treasury");
            eq(gained, b.amount - fee, "paid");
            eq(lost, 0, "who passed loses nothing");
            return;
        }
        eq(lastPaid, 0, "a batch that did not pass is not paid");
        uint256 due = b.outcome == FAIL && b.agreed ? uint256(b.amount) * terms().slashFactor : 0;
        if (due > b.stake) due = b.stake;
        if (due > uint256(before.stake) + before.thawing) due = uint256(before.stake) + before.thawing;
        eq(lost, due, "slashed as the rules say, thawing stake too");
        eq(lastSlashed, due, "and as the event says");
        yes(lost <= b.stake, "no more than stood behind it");
        if (b.operator != escrow.job(b.jobKey).requester) {
            eq(gained, b.disputer == b.operator ? due / 2 / 2 : 0, "and gets nothing for a batch that failed");
        }
    }

    function creditsWithout(address owner) internal view returns (bytes32 hash) {
        for (uint256 i = 0; i < people.length; i++) {
            if (people[i] != owner) hash = keccak256(abi.encode(hash, people[i], escrow.credit(people[i])));
        }
    }

    /// @dev After every action.
    function checkBooks() external view {
        uint256 inside = given;
        for (uint256 i = 0; i < jobs.length; i++) {
            IRenderEscrow.Job memory j = escrow.job(jobs[i]);
            eq(j.funded, uint256(j.released) + j.refunded + j.free + _reserved[jobs[i]], "a job's money adds up");
            eq(j.live, _liveOf[jobs[i]], "what is under way");
            yes(j.feeBps == _feeOf[jobs[i]] && j.feeBps <= escrow.MAX_FEE_BPS(), "the fee is that of the opening");
            inside += uint256(j.funded) - j.released - j.refunded;
        }
        for (uint256 i = 0; i < people.length; i++) inside += escrow.credit(people[i]);
        for (uint256 i = 0; i < live.length; i++) inside += batchOf(live[i]).bond;
        eq(token.balanceOf(address(escrow)), inside, "the escrow has what it owes");
        uint256 staked = 0;
        for (uint256 i = 0; i < people.length; i++) {
            INodeRegistry.Operator memory o = registry.operatorInfo(people[i]);
            staked += uint256(o.stake) + o.thawing;
        }
        eq(token.balanceOf(address(registry)), staked, "the registry has what it holds");
        for (uint256 i = 0; i < live.length; i++) yes(endings[live[i]] == 0, "what is live has not ended");
    }

    /// @dev How far the fuzzer got, so that a run in which nothing happens is noticed.
    function reached() external view returns (uint256 committed, uint256 ended) {
        committed = batchKeys.length;
        ended = committed - live.length;
    }
}
