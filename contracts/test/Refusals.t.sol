// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {IRenderEscrow} from "../IRenderEscrow.sol";
import {RenderEscrow} from "../RenderEscrow.sol";
import {Signatures} from "../Signatures.sol";
import {Farm} from "./support/Farm.sol";

/// @dev Everything the escrow refuses, with its reason.
contract RefusalsTest is Farm {
    address private node;
    uint96 private constant AMOUNT = 8 * UNIT;
    bytes32 private constant OTHER = keccak256("other job");

    function setUp() public override {
        super.setUp();
        node = addNode(false, STAKE);
        for (uint256 i = 0; i < 3; i++) addVerifier();
        openJob();
    }

    function _refused(bytes4 what, bytes memory parameters) private {
        vm.expectRevert(abi.encodePacked(what, parameters));
    }

    function _open(IRenderEscrow.OpenJob memory o) private {
        bytes memory signature = sign(requester, openDigest(o));
        escrow.openJob(o, signature, noPermit());
    }

    function _terms(bytes32 key) private view returns (IRenderEscrow.OpenJob memory) {
        return IRenderEscrow.OpenJob(requester, key, UNIT, UNIT, uint40(block.timestamp + 1 days));
    }

    function test_open_twice() public {
        _refused(IRenderEscrow.JobExists.selector, abi.encode(JOB));
        this.open(_terms(JOB));
    }

    function open(IRenderEscrow.OpenJob memory o) external {
        _open(o);
    }

    function test_open_without_money() public {
        IRenderEscrow.OpenJob memory o = _terms(OTHER);
        o.budget = 0;
        _refused(IRenderEscrow.BudgetZero.selector, "");
        this.open(o);
    }

    function test_open_after_its_deadline() public {
        IRenderEscrow.OpenJob memory o = _terms(OTHER);
        o.deadline = uint40(block.timestamp);
        _refused(IRenderEscrow.DeadlinePassed.selector, abi.encode(o.deadline));
        this.open(o);
    }

    function test_open_with_a_price_or_a_deadline_that_cannot_be_kept() public {
        IRenderEscrow.OpenJob memory o = _terms(OTHER);
        o.maxTaskPrice = type(uint96).max;
        vm.expectPartialRevert(bytes4(keccak256("SafeCastOverflowedUintDowncast(uint8,uint256)")));
        this.open(o);
        o = _terms(OTHER);
        o.deadline = type(uint40).max;
        vm.expectPartialRevert(bytes4(keccak256("SafeCastOverflowedUintDowncast(uint8,uint256)")));
        this.open(o);
    }

    function test_open_on_terms_nobody_signed() public {
        IRenderEscrow.OpenJob memory o = _terms(OTHER);
        bytes memory signature = sign(requester, openDigest(o));
        o.budget += 1;
        vm.expectPartialRevert(Signatures.WrongSigner.selector);
        escrow.openJob(o, signature, noPermit());
    }

    function test_open_with_a_broken_signature() public {
        IRenderEscrow.OpenJob memory o = _terms(OTHER);
        _refused(Signatures.WrongSigner.selector, abi.encode(requester, address(0)));
        escrow.openJob(o, hex"00", noPermit());
        o.requester = address(0);
        _refused(Signatures.WrongSigner.selector, abi.encode(address(0), address(0)));
        escrow.openJob(o, hex"00", noPermit());
    }

    function test_funds_for_no_job_a_closed_one_a_late_one_or_nothing() public {
        _refused(IRenderEscrow.JobNotOpen.selector, abi.encode(OTHER, 0));
        escrow.addFunds(OTHER, 1, noPermit());
        _refused(IRenderEscrow.BudgetZero.selector, "");
        escrow.addFunds(JOB, 0, noPermit());
        uint32 deadline = escrow.job(JOB).deadline;
        vm.warp(uint256(deadline) + 1);
        _refused(IRenderEscrow.DeadlinePassed.selector, abi.encode(deadline));
        escrow.addFunds(JOB, 1, noPermit());
        escrow.closeJob(JOB);
        _refused(IRenderEscrow.JobNotOpen.selector, abi.encode(JOB, 2));
        escrow.addFunds(JOB, 1, noPermit());
    }

    function test_close_by_a_stranger_before_the_deadline_and_twice() public {
        uint32 deadline = escrow.job(JOB).deadline;
        vm.warp(deadline);
        _refused(IRenderEscrow.DeadlineNotReached.selector, abi.encode(deadline));
        vm.prank(stranger);
        escrow.closeJob(JOB);
        vm.warp(uint256(deadline) + 1);
        vm.prank(stranger);
        escrow.closeJob(JOB);
        _refused(IRenderEscrow.JobNotOpen.selector, abi.encode(JOB, 2));
        escrow.closeJob(JOB);
    }

    function _commit(IRenderEscrow.Commit memory c) private {
        bytes memory signature = sign(node, commitDigest(c));
        vm.prank(coordinator);
        escrow.commit(c, signature);
    }

    function commitThis(IRenderEscrow.Commit memory c) external {
        _commit(c);
    }

    function test_commit_by_a_stranger() public {
        IRenderEscrow.Commit memory c = commitTerms(JOB, nextKey(node, 0), AMOUNT);
        bytes memory signature = sign(node, commitDigest(c));
        _refused(IRenderEscrow.NotCoordinator.selector, abi.encode(stranger));
        vm.prank(stranger);
        escrow.commit(c, signature);
        IRenderEscrow.Commit[] memory list = new IRenderEscrow.Commit[](1);
        bytes[] memory signatures = new bytes[](1);
        (list[0], signatures[0]) = (c, signature);
        _refused(IRenderEscrow.NotCoordinator.selector, abi.encode(stranger));
        vm.prank(stranger);
        escrow.commitMany(list, signatures);
        _refused(IRenderEscrow.LengthMismatch.selector, abi.encode(1, 0));
        vm.prank(coordinator);
        escrow.commitMany(list, new bytes[](0));
    }

    function test_commit_what_the_node_did_not_sign() public {
        IRenderEscrow.Commit memory c = commitTerms(JOB, nextKey(node, 0), AMOUNT);
        bytes memory signature = sign(node, commitDigest(c));
        c.root = keccak256("another");
        vm.expectPartialRevert(Signatures.WrongSigner.selector);
        vm.prank(coordinator);
        escrow.commit(c, signature);
    }

    function test_commit_out_of_bounds() public {
        bytes32 key = nextKey(node, 0);
        IRenderEscrow.Commit memory c = commitTerms(JOB, key, AMOUNT);
        c.count = 0;
        _refused(IRenderEscrow.CountOutOfRange.selector, abi.encode(0));
        this.commitThis(c);
        c.count = 65;
        _refused(IRenderEscrow.CountOutOfRange.selector, abi.encode(65));
        this.commitThis(c);
        c = commitTerms(JOB, key, 64 * UNIT + 1);
        _refused(IRenderEscrow.AboveMaxTaskPrice.selector, abi.encode(64 * UNIT + 1, 64 * UNIT));
        this.commitThis(c);
        openJob(OTHER, 63 * UNIT, UNIT, uint40(block.timestamp + 1 days));
        c = commitTerms(OTHER, key, 64 * UNIT);
        _refused(IRenderEscrow.AboveFreeMoney.selector, abi.encode(64 * UNIT, 63 * UNIT));
        this.commitThis(c);
        c = commitTerms(keccak256("none"), key, 1);
        _refused(IRenderEscrow.JobNotOpen.selector, abi.encode(c.jobKey, 0));
        this.commitThis(c);
        vm.warp(block.timestamp + 1 days + 1);
        c = commitTerms(OTHER, key, 1);
        vm.expectPartialRevert(IRenderEscrow.DeadlinePassed.selector);
        this.commitThis(c);
    }

    function test_commit_by_a_node_of_nobody() public {
        address loner = vm.addr(0xABCD);
        keyOf[loner] = 0xABCD;
        IRenderEscrow.Commit memory c = commitTerms(JOB, nextKey(loner, 0), AMOUNT);
        bytes memory signature = sign(loner, commitDigest(c));
        _refused(IRenderEscrow.NodeNotRegistered.selector, abi.encode(loner));
        vm.prank(coordinator);
        escrow.commit(c, signature);
    }

    function test_commit_into_a_lane_that_is_taken() public {
        bytes32 key = commit(node, 0, AMOUNT);
        IRenderEscrow.Commit memory c = commitTerms(JOB, nextKey(node, 0), AMOUNT);
        _refused(IRenderEscrow.LaneTaken.selector, abi.encode(c.batchKey, type(uint64).max));
        this.commitThis(c);
        c.batchKey = key;
        _refused(IRenderEscrow.LaneTaken.selector, abi.encode(key, type(uint64).max));
        this.commitThis(c);
        c.batchKey = bytes32(uint256(uint160(node)) << 96);
        vm.expectPartialRevert(IRenderEscrow.LaneTaken.selector);
        this.commitThis(c);
    }

    function test_a_generation_zero_is_none() public {
        IRenderEscrow.Commit memory c = commitTerms(JOB, bytes32(uint256(uint160(node)) << 96), AMOUNT);
        _refused(IRenderEscrow.LaneTaken.selector, abi.encode(c.batchKey, 0));
        this.commitThis(c);
    }

    function test_draw_too_early_by_a_stranger_with_the_wrong_secret_and_too_late() public {
        bytes32 key = commit(node, 0, AMOUNT);
        IRenderEscrow.Batch memory b = batchOf(key);
        vm.roll(uint256(b.anchor) + 1);
        _refused(IRenderEscrow.DrawTooEarly.selector, abi.encode(b.anchor + 1, b.anchor + 2));
        escrow.draw(key, b, 0);
        eq(escrow.drawerOf(key, b), address(0), "nobody knows yet");
        vm.roll(uint256(b.anchor) + 2);
        address drawer = escrow.drawerOf(key, b);
        bytes32 head = registry.headOf(drawer);
        _refused(IRenderEscrow.NotDrawer.selector, abi.encode(stranger, drawer));
        vm.prank(stranger);
        escrow.draw(key, b, preimageOf[head]);
        vm.expectRevert(abi.encodeWithSignature("WrongPreimage(bytes32)", head));
        vm.prank(coordinator);
        escrow.draw(key, b, head);
        eq(registry.headOf(drawer), head, "no secret is used up");
        vm.roll(uint256(b.anchor) + 258);
        _refused(IRenderEscrow.BlockHashGone.selector, abi.encode(key));
        vm.prank(coordinator);
        escrow.draw(key, b, preimageOf[head]);
    }

    function test_the_drawer_may_draw_itself() public {
        bytes32 key = commit(node, 0, AMOUNT);
        vm.roll(block.number + 2);
        address drawer = escrow.drawerOf(key, batchOf(key));
        bytes32 secret = preimageOf[registry.headOf(drawer)];
        vm.prank(drawer);
        escrow.draw(key, batchOf(key), secret);
        fold();
        check(key);
    }

    function test_reanchor_before_the_window_is_over() public {
        bytes32 key = commit(node, 0, AMOUNT);
        uint256 until = block.number + terms().drawBlocks;
        vm.roll(until);
        _refused(IRenderEscrow.DrawWindowOpen.selector, abi.encode(until));
        escrow.reanchor(key, batchOf(key));
    }

    function test_nothing_can_be_done_with_a_batch_that_is_told_otherwise() public {
        bytes32 key = commit(node, 0, AMOUNT);
        IRenderEscrow.Batch memory b = batchOf(key);
        b.amount += 1;
        bytes memory reason = abi.encodeWithSelector(IRenderEscrow.WrongBatch.selector, key);
        vm.expectRevert(reason);
        escrow.draw(key, b, 0);
        vm.expectRevert(reason);
        escrow.reanchor(key, b);
        vm.expectRevert(reason);
        escrow.attest(key, b, IRenderEscrow.Word(1, 0, ""));
        vm.expectRevert(reason);
        escrow.replace(key, b);
        vm.expectRevert(reason);
        escrow.attestCommittee(key, b, new address[](0), 1, new IRenderEscrow.Vote[](0));
        vm.expectRevert(reason);
        escrow.closeCommittee(key, b);
        vm.expectRevert(reason);
        escrow.expire(key, b);
        vm.expectRevert(reason);
        escrow.dispute(IRenderEscrow.Dispute(key, 0, stranger, UNIT), b, "", noPermit());
        bytes32[] memory keys = new bytes32[](1);
        IRenderEscrow.Batch[] memory list = new IRenderEscrow.Batch[](1);
        (keys[0], list[0]) = (key, b);
        vm.expectRevert(reason);
        escrow.settle(keys, list);
    }

    /// @dev One in each state but Committee, which needs more verifiers than two.
    function test_a_batch_goes_through_its_states_in_order() public {
        bytes32 key = commit(node, 0, AMOUNT);
        _only(key, 1, [true, false, false, false, false]);
        draw(key);
        _only(key, 2, [false, true, false, false, true]);
        attest(key, FAIL);
        _only(key, 3, [false, true, false, false, true]);
        attest(key, FAIL);
        _only(key, 5, [false, false, false, true, false]);
    }

    /// @dev Which of draw, attest, closeCommittee, settle, replace are not refused for the batch's state.
    function _only(bytes32 key, uint8 state, bool[5] memory allowed) private {
        IRenderEscrow.Batch memory b = batchOf(key);
        eq(b.state, state, "state");
        bytes memory reason = abi.encodeWithSelector(IRenderEscrow.WrongBatchState.selector, key, state);
        if (!allowed[0]) {
            vm.expectRevert(reason);
            escrow.draw(key, b, 0);
            vm.expectRevert(reason);
            escrow.reanchor(key, b);
        }
        if (!allowed[1]) {
            vm.expectRevert(reason);
            escrow.attest(key, b, IRenderEscrow.Word(1, 0, ""));
        }
        if (!allowed[2]) {
            vm.expectRevert(reason);
            escrow.closeCommittee(key, b);
            vm.expectRevert(reason);
            escrow.attestCommittee(key, b, new address[](0), 1, new IRenderEscrow.Vote[](0));
        }
        (bytes32[] memory keys, IRenderEscrow.Batch[] memory list) = one(key);
        if (!allowed[3]) {
            vm.expectRevert(reason);
            escrow.settle(keys, list);
            vm.expectRevert(reason);
            escrow.dispute(IRenderEscrow.Dispute(key, 0, stranger, UNIT), b, "", noPermit());
        } else {
            vm.expectRevert(reason);
            escrow.expire(key, b);
        }
        if (!allowed[4]) {
            vm.expectRevert(reason);
            escrow.replace(key, b);
        }
    }

    function test_attest_without_meaning_by_another_or_about_another_draw() public {
        bytes32 key = commit(node, 0, AMOUNT);
        draw(key);
        IRenderEscrow.Batch memory b = batchOf(key);
        _refused(IRenderEscrow.UnknownOutcome.selector, abi.encode(0));
        escrow.attest(key, b, IRenderEscrow.Word(0, 0, ""));
        _refused(IRenderEscrow.UnknownOutcome.selector, abi.encode(4));
        escrow.attest(key, b, IRenderEscrow.Word(4, 0, ""));
        IRenderEscrow.Word memory w = word(requester, key, b.seed, PASS);
        _refused(Signatures.WrongSigner.selector, abi.encode(b.verifier, requester));
        escrow.attest(key, b, w);
        w = word(b.verifier, key, keccak256("another seed"), PASS);
        vm.expectPartialRevert(Signatures.WrongSigner.selector);
        escrow.attest(key, b, w);
        w = word(b.verifier, key, b.seed, PASS);
        w.outcome = FAIL;
        vm.expectPartialRevert(Signatures.WrongSigner.selector);
        escrow.attest(key, b, w);
        escrow.attestMany(new bytes32[](0), new IRenderEscrow.Batch[](0), new IRenderEscrow.Word[](0));
        _refused(IRenderEscrow.LengthMismatch.selector, abi.encode(1, 0));
        escrow.attestMany(new bytes32[](1), new IRenderEscrow.Batch[](0), new IRenderEscrow.Word[](0));
        _refused(IRenderEscrow.LengthMismatch.selector, abi.encode(1, 0));
        escrow.drawMany(new bytes32[](1), new IRenderEscrow.Batch[](1), new bytes32[](0));
    }

    function test_the_first_is_not_also_the_second() public {
        bytes32 key = commit(node, 0, AMOUNT);
        draw(key);
        attest(key, FAIL);
        IRenderEscrow.Batch memory b = batchOf(key);
        IRenderEscrow.Word memory w = word(b.verifier, key, b.seed, FAIL);
        _refused(Signatures.WrongSigner.selector, abi.encode(b.second, b.verifier));
        escrow.attest(key, b, w);
    }

    function test_replace_while_the_window_is_open() public {
        bytes32 key = commit(node, 0, AMOUNT);
        draw(key);
        uint256 until = block.timestamp + terms().verdictWindow;
        vm.warp(until);
        _refused(IRenderEscrow.WindowOpen.selector, abi.encode(until));
        escrow.replace(key, batchOf(key));
    }

    function test_settle_while_it_can_be_disputed_and_only_once() public {
        bytes32 key = commit(node, 0, AMOUNT);
        draw(key);
        attest(key, PASS);
        (bytes32[] memory keys, IRenderEscrow.Batch[] memory list) = one(key);
        uint256 until = block.timestamp + terms().disputeWindow;
        vm.warp(until - 1);
        _refused(IRenderEscrow.WindowOpen.selector, abi.encode(until));
        escrow.settle(keys, list);
        settleLater(key);
        _refused(IRenderEscrow.WrongBatch.selector, abi.encode(key));
        escrow.settle(keys, list);
        _refused(IRenderEscrow.LengthMismatch.selector, abi.encode(1, 0));
        escrow.settle(keys, new IRenderEscrow.Batch[](0));
    }

    function test_one_batch_that_cannot_be_settled_stops_all_in_its_transaction() public {
        bytes32 key = commit(node, 0, AMOUNT);
        draw(key);
        attest(key, PASS);
        vm.warp(block.timestamp + terms().disputeWindow);
        bytes32[] memory keys = new bytes32[](2);
        IRenderEscrow.Batch[] memory list = new IRenderEscrow.Batch[](2);
        (keys[0], list[0], keys[1], list[1]) = (key, batchOf(key), key, batchOf(key));
        _refused(IRenderEscrow.WrongBatch.selector, abi.encode(key));
        escrow.settle(keys, list);
        eq(escrow.credit(owners[0]), 0, "nothing moved");
        // forge also records what a refused call logged.
        vm.recordLogs();
        settle(key);
    }

    function test_expire_before_its_time() public {
        bytes32 key = commit(node, 0, AMOUNT);
        uint256 until = block.timestamp + terms().expireWindow;
        vm.warp(until);
        _refused(IRenderEscrow.WindowOpen.selector, abi.encode(until));
        escrow.expire(key, batchOf(key));
    }

    function test_expire_does_not_wait_longer_for_a_new_anchor() public {
        bytes32 key = commit(node, 0, AMOUNT);
        vm.warp(block.timestamp + terms().expireWindow);
        vm.roll(block.number + 129);
        escrow.reanchor(key, batchOf(key));
        fold();
        vm.warp(block.timestamp + 1);
        escrow.expire(key, batchOf(key));
        fold();
        check(key);
    }

    function test_withdraw_nothing() public {
        _refused(IRenderEscrow.NothingToWithdraw.selector, abi.encode(stranger));
        vm.prank(stranger);
        escrow.withdraw();
        _refused(IRenderEscrow.NothingToWithdraw.selector, abi.encode(address(0)));
        escrow.withdrawFor(address(0));
    }

    function test_only_the_authority_changes_anything_and_only_these() public {
        bytes memory reason = abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, stranger);
        vm.expectRevert(reason);
        vm.prank(stranger);
        escrow.setPaused(true);
        vm.expectRevert(reason);
        vm.prank(stranger);
        escrow.setFee(0);
        vm.expectRevert(reason);
        vm.prank(stranger);
        escrow.setTreasury(stranger);
        vm.expectRevert(reason);
        vm.prank(stranger);
        escrow.setCoordinator(stranger);
        vm.prank(admin);
        _refused(IRenderEscrow.FeeTooHigh.selector, abi.encode(1001, 1000));
        escrow.setFee(1001);
        vm.prank(admin);
        _refused(IRenderEscrow.ZeroAddress.selector, "");
        escrow.setTreasury(address(0));
        vm.prank(admin);
        _refused(IRenderEscrow.ZeroAddress.selector, "");
        escrow.setCoordinator(address(0));
        vm.prank(admin);
        escrow.setCoordinator(stranger);
        eq(escrow.config().coordinator, stranger, "by the authority");
    }

    function test_the_timelock_is_the_authoritys() public {
        // The admin gives itself a delay: from then on it has to schedule, and everybody sees it coming.
        vm.prank(admin);
        manager.grantRole(0, admin, 2 days);
        bytes memory call = abi.encodeCall(escrow.setFee, (500));
        vm.prank(admin);
        vm.expectRevert();
        escrow.setFee(500);
        vm.prank(admin);
        manager.schedule(address(escrow), call, 0);
        vm.prank(admin);
        vm.expectRevert();
        manager.execute(address(escrow), call);
        vm.warp(block.timestamp + 2 days);
        vm.prank(admin);
        manager.execute(address(escrow), call);
        eq(escrow.config().feeBps, 500, "after the delay");
    }

    function test_a_fee_is_that_of_the_opening() public {
        vm.prank(admin);
        escrow.setFee(1000);
        bytes32 key = commit(node, 0, AMOUNT);
        draw(key);
        attest(key, PASS);
        settleLater(key);
        eq(lastFee, AMOUNT * FEE_BPS / 10_000, "as when the job opened");
        openJob(OTHER, UNIT, UNIT, uint40(block.timestamp + 1 days));
        eq(escrow.job(OTHER).feeBps, 1000, "later jobs pay the later fee");
    }

    function test_paused_takes_nothing_in_and_lets_everything_out() public {
        bytes32 paid = commit(node, 0, AMOUNT);
        bytes32 expired = commit(node, 1, AMOUNT);
        vm.prank(admin);
        escrow.setPaused(true);
        _refused(IRenderEscrow.Paused.selector, "");
        this.open(_terms(OTHER));
        _refused(IRenderEscrow.Paused.selector, "");
        escrow.addFunds(JOB, 1, noPermit());
        IRenderEscrow.Commit memory c = commitTerms(JOB, nextKey(node, 2), AMOUNT);
        _refused(IRenderEscrow.Paused.selector, "");
        this.commitThis(c);
        draw(paid);
        attest(paid, PASS);
        settleLater(paid);
        escrow.withdrawFor(owners[0]);
        vm.warp(block.timestamp + terms().expireWindow);
        escrow.expire(expired, batchOf(expired));
        fold();
        vm.prank(requester);
        escrow.closeJob(JOB);
        escrow.withdrawFor(requester);
        eq(escrow.job(JOB).refunded, 1000 * UNIT - AMOUNT, "refunded");
        escrow.withdrawFor(treasury);
        eq(token.balanceOf(address(escrow)), 0, "nothing stays");
    }

    function test_terms_that_cannot_work() public {
        IRenderEscrow.Terms memory t = terms();
        t.drawBlocks = 256;
        _noEscrow(t);
        t = terms();
        t.drawBlocks = 1;
        _noEscrow(t);
        t = terms();
        t.verdictWindow = 0;
        _noEscrow(t);
        t = terms();
        t.committeeWindow = 0;
        _noEscrow(t);
        t = terms();
        t.expireWindow = t.verdictWindow;
        _noEscrow(t);
        t = terms();
        t.disputeBond = 0;
        _noEscrow(t);
        vm.expectRevert(abi.encodeWithSelector(IRenderEscrow.FeeTooHigh.selector, 1001, 1000));
        new RenderEscrow(token, registry, admin, coordinator, treasury, 1001, terms());
        vm.expectRevert(abi.encodeWithSelector(IRenderEscrow.ZeroAddress.selector));
        new RenderEscrow(token, registry, address(0), coordinator, treasury, 0, terms());
    }

    function _noEscrow(IRenderEscrow.Terms memory t) private {
        vm.expectRevert(abi.encodeWithSelector(IRenderEscrow.TermsOutOfRange.selector));
        new RenderEscrow(token, registry, admin, coordinator, treasury, 0, t);
    }
}
