// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {INodeRegistry} from "../../INodeRegistry.sol";
import {IRenderEscrow} from "../../IRenderEscrow.sol";
import {Books} from "./Books.sol";

/// @dev What the fuzzer can do. Each action does something that is allowed, or nothing; one that reverts is a fault. Each
/// holds what it did against its own idea of the rules.
contract Handler is Books {
    uint32 private constant LANES = 4;
    uint256 private constant MOST_LIVE = 20;
    uint256 private _jobCount;
    mapping(uint256 nodeAndLane => bool) private _busy;
    address private _secondRequester;

    function setUp() public override {
        super.setUp();
        addNode(true, STAKE);
        addNode(false, 7 * UNIT);
        addNode(false, 0);
        for (uint256 i = 0; i < 6; i++) addVerifier();
        putDown(ownerOf(verifiers[0]), STAKE);
        addVerifierOf(ownerOf(verifiers[0]));
        _secondRequester = vm.addr(0x1002);
        keyOf[_secondRequester] = 0x1002;
        mint(_secondRequester, 1e6 * UNIT);
        vm.prank(_secondRequester);
        token.approve(address(escrow), type(uint256).max);
        remember(requester);
        remember(_secondRequester);
        remember(treasury);
        remember(stranger);
        remember(escrow.BURN());
        for (uint256 i = 0; i < owners.length; i++) remember(owners[i]);
        for (uint256 i = 0; i < verifiers.length; i++) remember(ownerOf(verifiers[i]));
    }

    function open(uint96 budget, uint96 price, uint32 lasts) external {
        if (escrow.config().paused || _jobCount == 12) return;
        (requester, _secondRequester) = (_secondRequester, requester);
        bytes32 key = keccak256(abi.encode("job", _jobCount++));
        budget = uint96(within(budget, 1, 500 * UNIT));
        openJob(key, budget, uint96(within(price, 1, UNIT)), uint40(block.timestamp + within(lasts, 1 days, 90 days)));
        noteJob(key);
        fold();
    }

    function addFunds(uint256 which, uint96 amount) external {
        bytes32 key = anyJob(which);
        IRenderEscrow.Job memory j = escrow.job(key);
        if (escrow.config().paused || j.state != IRenderEscrow.JobState.Open || block.timestamp > j.deadline) return;
        amount = uint96(within(amount, 1, 10 * UNIT));
        mint(stranger, amount);
        vm.prank(stranger);
        token.approve(address(escrow), amount);
        vm.prank(stranger);
        escrow.addFunds(key, amount, noPermit());
        fold();
    }

    function close(uint256 which, bool byStranger) external {
        bytes32 key = anyJob(which);
        IRenderEscrow.Job memory j = escrow.job(key);
        if (j.state != IRenderEscrow.JobState.Open) return;
        if (byStranger && block.timestamp <= j.deadline) return;
        vm.prank(byStranger ? stranger : j.requester);
        escrow.closeJob(key);
        eq(escrow.job(key).free, 0, "nothing is free in a closed job");
        fold();
    }

    function commit(uint256 which, uint256 whose, uint32 lane, uint96 amount, uint16 count) external {
        bytes32 jobKey = anyJob(which);
        IRenderEscrow.Job memory j = escrow.job(jobKey);
        if (escrow.config().paused || j.state != IRenderEscrow.JobState.Open || block.timestamp > j.deadline) return;
        address node = nodes[whose % nodes.length];
        lane = lane % LANES;
        uint256 nodeAndLane = (uint256(uint160(node)) << 32) | lane;
        if (_busy[nodeAndLane] || live.length == MOST_LIVE) return;
        count = uint16(within(count, 1, 64));
        uint256 most = uint256(count) * j.maxTaskPrice;
        if (most > j.free) most = j.free;
        bytes32 key = nextKey(node, lane);
        IRenderEscrow.Commit memory c =
            IRenderEscrow.Commit(jobKey, key, keccak256(abi.encode(key)), count, uint96(within(amount, 0, most)));
        bytes memory signature = sign(node, commitDigest(c));
        vm.prank(coordinator);
        escrow.commit(c, signature);
        _busy[nodeAndLane] = true;
        noteCommit(key, c.amount);
        _done(key);
        eq(batchOf(key).stake, stakeOf(batchOf(key).operator), "the stake that stands behind it");
    }

    function draw(uint256 which) external {
        bytes32 key = find(which, 1);
        if (key == 0) return;
        IRenderEscrow.Batch memory b = batchOf(key);
        if (block.number < uint256(b.anchor) + 2) vm.roll(uint256(b.anchor) + 2);
        address drawer = escrow.drawerOf(key, b);
        if (drawer == address(0)) return;
        (address next,) = registry.pick(0, b.anchor, block.number, b.operator, address(0), address(0));
        if (next == address(0)) return;
        bytes32 secret = preimageOf[registry.headOf(drawer)];
        vm.prank(drawer);
        escrow.draw(key, b, secret);
        _done(key);
        yes(ownerOf(batchOf(key).verifier) != b.operator, "nobody checks itself");
    }

    function reanchor(uint256 which) external {
        bytes32 key = find(which, 1);
        if (key == 0) return;
        IRenderEscrow.Batch memory b = batchOf(key);
        uint256 first = uint256(b.anchor) + terms().drawBlocks + 1;
        if (block.number < first) vm.roll(first);
        vm.prank(stranger);
        escrow.reanchor(key, b);
        _done(key);
    }

    function attest(uint256 which, uint8 outcome) external {
        bytes32 key = find(which, uint256(1 << 2) | (1 << 3));
        if (key == 0) return;
        IRenderEscrow.Batch memory b = batchOf(key);
        address asked = b.state == 3 ? b.second : b.verifier;
        escrow.attest(key, b, word(asked, key, b.seed, uint8(within(outcome, 1, 3))));
        _done(key);
        IRenderEscrow.Batch memory now_ = batchOf(key);
        if (now_.agreed) {
            yes(now_.firstOutcome == FAIL && now_.secondOutcome == FAIL, "two said fail");
            yes(ownerOf(now_.verifier) != ownerOf(now_.second), "of two operators");
        }
    }

    function replace(uint256 which) external {
        bytes32 key = find(which, uint256(1 << 2) | (1 << 3));
        if (key == 0) return;
        IRenderEscrow.Batch memory b = batchOf(key);
        address silent = b.state == 3 ? b.second : b.verifier;
        address first = b.state == 3 ? ownerOf(b.verifier) : address(0);
        (address next,) = registry.pick(0, b.anchor, block.number, b.operator, ownerOf(silent), first);
        if (next == address(0)) return;
        uint256 until = uint256(b.since) + terms().verdictWindow + 1;
        if (registry.isActive(silent) && block.timestamp < until) vm.warp(until);
        escrow.replace(key, b);
        _done(key);
    }

    function disputeIt(uint256 which, uint256 who) external {
        bytes32 key = find(which, 1 << 5);
        if (key == 0) return;
        IRenderEscrow.Batch memory b = batchOf(key);
        if (b.last || b.outcome == UNCLEAR) return;
        address second = b.second == address(0) ? address(0) : ownerOf(b.second);
        address[] memory members =
            registry.pickMany(0, b.anchor, block.number, b.operator, ownerOf(b.verifier), second, 5);
        if (members.length < 3) return;
        address disputer = people[who % people.length];
        if (disputer == escrow.BURN()) return;
        dispute(key, disputer);
        _done(key);
    }

    function voteOn(uint256 which, uint8 outcome, uint256 count) external {
        bytes32 key = find(which, 1 << 4);
        if (key == 0) return;
        uint256 all = membersOf[key].length;
        vote(key, uint8(within(outcome, 1, 3)), within(count, all / 2 + 1, all));
        _done(key);
        yes(batchOf(key).last, "a committee's word is the last");
    }

    function closeCommittee(uint256 which) external {
        bytes32 key = find(which, 1 << 4);
        if (key == 0) return;
        uint256 until = uint256(batchOf(key).since) + terms().committeeWindow + 1;
        if (block.timestamp < until) vm.warp(until);
        vm.prank(stranger);
        escrow.closeCommittee(key, batchOf(key));
        _done(key);
    }

    function settleOne(uint256 which) external {
        bytes32 key = find(which, 1 << 5);
        if (key == 0) return;
        IRenderEscrow.Batch memory b = batchOf(key);
        if (!b.last && block.timestamp < uint256(b.since) + terms().disputeWindow) {
            vm.warp(uint256(b.since) + terms().disputeWindow);
        }
        Before memory before = look(b);
        settle(key);
        _done(key);
        settled(b, before);
    }

    function expire(uint256 which, uint8 waits) external {
        bytes32 key = find(which, uint256(1 << 1) | (1 << 2) | (1 << 3));
        if (key == 0) return;
        IRenderEscrow.Batch memory b = batchOf(key);
        uint256 until = uint256(b.committedAt) + terms().expireWindow;
        if (block.timestamp <= until && waits % 4 != 0) return;
        if (block.timestamp <= until) vm.warp(until + 1);
        uint256 owned = escrow.credit(b.operator);
        vm.prank(stranger);
        escrow.expire(key, b);
        _done(key);
        if (b.operator != escrow.job(b.jobKey).requester) eq(escrow.credit(b.operator), owned, "not paid");
    }

    function withdraw(uint256 who) external {
        address owner = people[who % people.length];
        uint256 amount = escrow.credit(owner);
        if (amount == 0) return;
        uint256 held = token.balanceOf(owner);
        bytes32 others = creditsWithout(owner);
        vm.prank(owner);
        escrow.withdraw();
        eq(escrow.credit(owner), 0, "all of it");
        eq(token.balanceOf(owner), held + amount, "to its owner");
        eq(creditsWithout(owner), others, "and nobody else's");
        fold();
    }

    function stake(uint256 who, uint96 amount) external {
        address owner = _operator(who);
        uint40 clock = registry.operatorInfo(owner).thawsAt;
        putDown(owner, uint96(within(amount, 1, 100 * UNIT)));
        eq(registry.operatorInfo(owner).thawsAt, clock, "a deposit changes no clock");
    }

    function thaw(uint256 who, uint96 amount) external {
        address owner = _operator(who);
        uint96 most = stakeOf(owner);
        if (most == 0) return;
        vm.prank(owner);
        registry.thaw(uint96(within(amount, 1, most)));
    }

    function unstake(uint256 who) external {
        address owner = _operator(who);
        INodeRegistry.Operator memory o = registry.operatorInfo(owner);
        if (o.thawing == 0 || block.timestamp < o.thawsAt) return;
        registry.unstake(owner);
    }

    function goAway(uint256 who) external {
        address verifier = verifiers[who % verifiers.length];
        // Seldom, so that most batches find a committee.
        if (!registry.isActive(verifier) || registry.verifierCount() < verifiers.length - 1) return;
        vm.prank(ownerOf(verifier));
        registry.leaveVerifier(verifier);
    }

    function comeBack(uint256 who) external {
        address verifier = verifiers[who % verifiers.length];
        address owner = ownerOf(verifier);
        if (registry.isActive(verifier)) return;
        uint256 needed = uint256(MIN_STAKE) * (registry.operatorInfo(owner).places + 1);
        if (stakeOf(owner) < needed) putDown(owner, uint96(needed));
        vm.roll(block.number + registry.LEAVE_BLOCKS() + 2);
        join(verifier, owner, registry.headOf(verifier));
        vm.warp(block.timestamp + registry.joinDelay());
        registry.activateVerifier(verifier);
    }

    function govern(uint8 paused, uint16 feeBps) external {
        // Seldom, since little happens in a paused escrow.
        vm.prank(admin);
        escrow.setPaused(paused % 4 == 0);
        vm.prank(admin);
        escrow.setFee(uint16(within(feeBps, 0, 1000)));
    }

    function wait(uint32 duration, uint16 blocks) external {
        vm.warp(block.timestamp + within(duration, 1, 2 days));
        vm.roll(block.number + within(blocks, 1, 300));
    }

    function give(uint96 amount) external {
        amount = uint96(within(amount, 1, UNIT));
        mint(address(escrow), amount);
        given += amount;
    }

    /// @dev Anybody, after every deadline, without anyone's help.
    function driveHome() external {
        vm.warp(block.timestamp + 365 days);
        vm.roll(block.number + 20_000);
        vm.recordLogs();
        while (live.length > 0) {
            bytes32 key = live[0];
            IRenderEscrow.Batch memory b = batchOf(key);
            vm.prank(stranger);
            if (b.state <= 3) escrow.expire(key, b);
            else if (b.state == 4) escrow.closeCommittee(key, b);
            else _settleAsStranger(key);
            _done(key);
        }
        for (uint256 i = 0; i < jobs.length; i++) {
            if (escrow.job(jobs[i]).state != IRenderEscrow.JobState.Open) continue;
            vm.prank(stranger);
            escrow.closeJob(jobs[i]);
        }
        for (uint256 i = 0; i < people.length; i++) {
            if (escrow.credit(people[i]) != 0) escrow.withdrawFor(people[i]);
        }
        for (uint256 i = 0; i < jobs.length; i++) {
            IRenderEscrow.Job memory j = escrow.job(jobs[i]);
            yes(j.state == IRenderEscrow.JobState.Closed, "closed");
            eq(j.free, 0, "nothing is free");
            eq(j.live, 0, "nothing is under way");
            eq(j.funded, uint256(j.released) + j.refunded, "all went to somebody");
        }
        eq(token.balanceOf(address(escrow)), given, "nothing is left inside but gifts");
    }

    function _settleAsStranger(bytes32 key) private {
        (bytes32[] memory keys, IRenderEscrow.Batch[] memory list) = one(key);
        escrow.settle(keys, list);
    }

    function _operator(uint256 who) private view returns (address) {
        uint256 count = owners.length + verifiers.length;
        who = who % count;
        return who < owners.length ? owners[who] : ownerOf(verifiers[who - owners.length]);
    }

    function _done(bytes32 key) private {
        fold();
        check(key);
        if (stateOf(key) < IRenderEscrow.BatchState.Settled) return;
        noteEnd(key);
        _busy[uint256(key) >> 64] = false;
    }
}
