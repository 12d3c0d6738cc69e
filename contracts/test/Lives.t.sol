// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IRenderEscrow} from "../IRenderEscrow.sol";
import {Farm} from "./support/Farm.sol";

/// @dev Every way in which a batch can live and end, and where its money goes.
contract LivesTest is Farm {
    address private node;
    address private owner;
    uint96 private constant AMOUNT = 8 * UNIT;

    function setUp() public override {
        super.setUp();
        node = addNode(false, STAKE);
        owner = owners[0];
        for (uint256 i = 0; i < 8; i++) addVerifier();
        openJob();
    }

    function _drawn() private returns (bytes32 key) {
        key = commit(node, 0, AMOUNT);
        draw(key);
    }

    function _disagreed() private returns (bytes32 key) {
        key = _drawn();
        attest(key, FAIL);
        attest(key, PASS);
    }

    function _judged(bytes32 key, uint8 outcome, bool agreed, bool last) private view {
        eq(uint8(stateOf(key)), uint8(IRenderEscrow.BatchState.Judged), "judged");
        eq(batchOf(key).outcome, outcome, "outcome");
        yes(batchOf(key).agreed == agreed, "agreed");
        yes(batchOf(key).last == last, "last");
    }

    function _notPaid(bytes32 key, uint96 slashed) private view {
        eq(lastPaid, 0, "not paid");
        eq(lastSlashed, slashed, "slashed");
        eq(stakeOf(owner), STAKE - slashed, "stake of the operator");
        eq(escrow.job(JOB).free, 1000 * UNIT, "the money is free again");
        eq(escrow.job(JOB).live, 0, "nothing is under way");
        eq(endings[key], 1, "ended once");
    }

    function test_pass_pays_the_operator_and_the_fee() public {
        bytes32 key = _drawn();
        attest(key, PASS);
        _judged(key, PASS, false, false);
        settleLater(key);
        uint96 fee = AMOUNT * FEE_BPS / 10_000;
        eq(escrow.credit(owner), AMOUNT - fee, "operator");
        eq(escrow.credit(treasury), fee, "treasury");
        eq(escrow.credit(node), 0, "the node's key gets nothing itself");
        eq(escrow.job(JOB).released, AMOUNT, "released");
        eq(escrow.job(JOB).free, 1000 * UNIT - AMOUNT, "free");
        vm.prank(stranger);
        escrow.withdrawFor(owner);
        eq(token.balanceOf(owner), AMOUNT - fee, "withdrawn");
    }

    function test_two_fails_slash_half_burnt_half_to_the_requester() public {
        bytes32 key = _drawn();
        attest(key, FAIL);
        yes(batchOf(key).second != batchOf(key).verifier, "somebody else is asked");
        attest(key, FAIL);
        _judged(key, FAIL, true, false);
        settleLater(key);
        _notPaid(key, 80 * UNIT);
        eq(escrow.credit(requester), 40 * UNIT, "requester");
        eq(escrow.credit(escrow.BURN()), 40 * UNIT, "burnt");
    }

    function test_a_slash_takes_no_more_than_stood_behind_the_batch() public {
        address poor = addNode(true, 3 * UNIT);
        bytes32 key = commit(poor, 0, AMOUNT);
        putDown(poor, 50 * UNIT);
        draw(key);
        attest(key, FAIL);
        attest(key, FAIL);
        settleLater(key);
        eq(lastSlashed, 3 * UNIT, "the stake at the commit");
        eq(stakeOf(poor), 50 * UNIT, "what came later stays");
    }

    function test_a_node_without_stake_is_just_not_paid() public {
        address poor = addNode(true, 0);
        bytes32 key = commit(poor, 0, AMOUNT);
        draw(key);
        attest(key, FAIL);
        attest(key, FAIL);
        settleLater(key);
        eq(lastSlashed, 0, "nothing to take");
        eq(escrow.credit(poor), 0, "not paid");
    }

    function test_thawing_stake_pays_for_a_fail() public {
        bytes32 key = _drawn();
        vm.prank(owner);
        registry.thaw(STAKE);
        attest(key, FAIL);
        attest(key, FAIL);
        settleLater(key);
        eq(lastSlashed, 80 * UNIT, "slashed");
        eq(registry.operatorInfo(owner).thawing, 20 * UNIT, "taken from what thaws");
    }

    function test_fail_then_unclear_is_a_fail_that_slashes_nobody() public {
        bytes32 key = _drawn();
        attest(key, FAIL);
        attest(key, UNCLEAR);
        _judged(key, FAIL, false, false);
        settleLater(key);
        _notPaid(key, 0);
    }

    function test_unclear_then_pass_is_a_pass() public {
        bytes32 key = _drawn();
        attest(key, UNCLEAR);
        attest(key, PASS);
        _judged(key, PASS, false, false);
    }

    function test_unclear_then_fail_slashes_nobody() public {
        bytes32 key = _drawn();
        attest(key, UNCLEAR);
        attest(key, FAIL);
        _judged(key, FAIL, false, false);
        settleLater(key);
        _notPaid(key, 0);
    }

    function test_unclear_twice_is_not_paid() public {
        bytes32 key = _drawn();
        attest(key, UNCLEAR);
        attest(key, UNCLEAR);
        _judged(key, UNCLEAR, false, false);
        settleLater(key);
        _notPaid(key, 0);
    }

    function test_a_committee_that_says_fail_slashes_node_and_second() public {
        bytes32 key = _disagreed();
        eq(membersOf[key].length, 5, "five are asked");
        for (uint256 i = 0; i < 5; i++) {
            yes(membersOf[key][i] != batchOf(key).verifier && membersOf[key][i] != batchOf(key).second, "others");
        }
        vote(key, FAIL, 3);
        _judged(key, FAIL, true, true);
        eq(stakeOf(ownerOf(batchOf(key).second)), 90 * UNIT, "who passed it");
        eq(stakeOf(ownerOf(batchOf(key).verifier)), STAKE, "who failed it");
        settle(key);
        _notPaid(key, 80 * UNIT);
        eq(escrow.credit(requester), 45 * UNIT, "half of both");
    }

    function test_a_committee_that_says_pass_slashes_the_first() public {
        bytes32 key = _disagreed();
        vote(key, PASS, 3);
        _judged(key, PASS, false, true);
        eq(stakeOf(ownerOf(batchOf(key).verifier)), 90 * UNIT, "who failed it");
        eq(stakeOf(ownerOf(batchOf(key).second)), STAKE, "who passed it");
        settle(key);
        eq(lastPaid, AMOUNT - AMOUNT * FEE_BPS / 10_000, "paid");
    }

    function test_a_committee_that_is_unsure_slashes_nobody() public {
        bytes32 key = _disagreed();
        vote(key, UNCLEAR, 5);
        _judged(key, UNCLEAR, false, true);
        settle(key);
        _notPaid(key, 0);
        eq(stakeOf(ownerOf(batchOf(key).verifier)), STAKE, "first");
        eq(stakeOf(ownerOf(batchOf(key).second)), STAKE, "second");
    }

    function test_a_silent_committee_ends_unsure() public {
        bytes32 key = _disagreed();
        vm.warp(block.timestamp + terms().committeeWindow + 1);
        escrow.closeCommittee(key, batchOf(key));
        fold();
        check(key);
        _judged(key, UNCLEAR, false, true);
        settle(key);
        _notPaid(key, 0);
    }

    function test_a_bad_pass_that_is_disputed() public {
        bytes32 key = _drawn();
        attest(key, PASS);
        dispute(key, stranger);
        vote(key, FAIL, 3);
        _judged(key, FAIL, true, true);
        // The bond, and a quarter of the verifier's penalty.
        eq(escrow.credit(stranger), UNIT + 2.5e6, "disputer, at once");
        settle(key);
        _notPaid(key, 80 * UNIT);
        eq(escrow.credit(stranger), UNIT + 2.5e6 + 20 * UNIT, "and a quarter of the node's stake");
        eq(escrow.credit(requester), 2.5e6 + 20 * UNIT, "as much as the requester");
        eq(escrow.credit(escrow.BURN()), 45 * UNIT, "half is burnt");
    }

    function test_a_good_fail_that_is_appealed_in_vain() public {
        bytes32 key = _drawn();
        attest(key, FAIL);
        attest(key, FAIL);
        dispute(key, owner);
        vote(key, FAIL, 3);
        _judged(key, FAIL, true, true);
        eq(batchOf(key).disputer, address(0), "who was wrong gets nothing");
        for (uint256 i = 0; i < 3; i++) {
            eq(escrow.credit(ownerOf(membersOf[key][i])), UNIT / 3, "the bond goes to who voted");
        }
        eq(escrow.credit(treasury), 1, "its dust to the treasury");
        settle(key);
        _notPaid(key, 80 * UNIT);
        eq(escrow.credit(owner), 0, "owner");
    }

    function test_a_bad_fail_that_is_appealed() public {
        bytes32 key = _drawn();
        attest(key, FAIL);
        attest(key, FAIL);
        dispute(key, owner);
        vote(key, PASS, 3);
        settle(key);
        eq(stakeOf(owner), STAKE, "not slashed");
        eq(stakeOf(ownerOf(batchOf(key).verifier)), 90 * UNIT, "first");
        eq(stakeOf(ownerOf(batchOf(key).second)), 90 * UNIT, "second");
        uint96 paid = AMOUNT - AMOUNT * FEE_BPS / 10_000;
        eq(escrow.credit(owner), paid + UNIT + 2 * 2.5e6, "paid, the bond back, and a quarter of each penalty");
    }

    function test_a_dispute_that_nobody_decides_changes_nothing() public {
        bytes32 key = _drawn();
        attest(key, FAIL);
        attest(key, FAIL);
        dispute(key, owner);
        vm.warp(block.timestamp + terms().committeeWindow + 1);
        escrow.closeCommittee(key, batchOf(key));
        fold();
        check(key);
        _judged(key, FAIL, true, true);
        eq(escrow.credit(owner), UNIT, "the bond comes back");
        settle(key);
        _notPaid(key, 80 * UNIT);
    }

    function test_a_dispute_on_which_the_committee_is_unsure_ends_unpaid() public {
        bytes32 key = _drawn();
        attest(key, PASS);
        dispute(key, stranger);
        vote(key, UNCLEAR, 3);
        settle(key);
        _notPaid(key, 0);
        eq(escrow.credit(stranger), UNIT, "the bond comes back");
    }

    function test_a_silent_verifier_is_replaced_and_pays() public {
        bytes32 key = _drawn();
        address silent = batchOf(key).verifier;
        vm.warp(block.timestamp + terms().verdictWindow + 1);
        escrow.replace(key, batchOf(key));
        fold();
        check(key);
        yes(batchOf(key).verifier != silent, "another is asked");
        eq(stakeOf(ownerOf(silent)), STAKE - UNIT / 10, "the silent one pays");
        eq(escrow.credit(requester), UNIT / 20, "half of it to the requester");
        attest(key, PASS);
        _judged(key, PASS, false, false);
    }

    function test_a_silent_second_is_replaced_by_a_third() public {
        bytes32 key = _drawn();
        attest(key, FAIL);
        address silent = batchOf(key).second;
        vm.warp(block.timestamp + terms().verdictWindow + 1);
        escrow.replace(key, batchOf(key));
        fold();
        check(key);
        yes(batchOf(key).second != silent && batchOf(key).second != batchOf(key).verifier, "a third is asked");
        attest(key, FAIL);
        _judged(key, FAIL, true, false);
    }

    function test_one_that_left_is_replaced_at_once_and_pays_nothing() public {
        bytes32 key = _drawn();
        address gone = batchOf(key).verifier;
        vm.prank(ownerOf(gone));
        registry.leaveVerifier(gone);
        escrow.replace(key, batchOf(key));
        fold();
        check(key);
        yes(batchOf(key).verifier != gone, "another is asked");
        eq(stakeOf(ownerOf(gone)), STAKE, "nothing to pay");
    }

    function test_each_state_without_a_judgement_expires() public {
        bytes32 committed = commit(node, 0, AMOUNT);
        bytes32 drawn = commit(node, 1, AMOUNT);
        bytes32 second = commit(node, 2, AMOUNT);
        draw(drawn);
        draw(second);
        attest(second, FAIL);
        vm.warp(block.timestamp + terms().expireWindow + 1);
        bytes32[3] memory keys = [committed, drawn, second];
        for (uint256 i = 0; i < 3; i++) {
            escrow.expire(keys[i], batchOf(keys[i]));
            fold();
            check(keys[i]);
        }
        _notPaid(second, 0);
    }

    function test_what_comes_back_after_the_job_closed_is_the_requesters() public {
        bytes32 key = _drawn();
        attest(key, UNCLEAR);
        attest(key, UNCLEAR);
        vm.prank(requester);
        escrow.closeJob(JOB);
        eq(escrow.credit(requester), 1000 * UNIT - AMOUNT, "what was free");
        settleLater(key);
        eq(escrow.credit(requester), 1000 * UNIT, "and what was reserved");
        eq(escrow.job(JOB).refunded, 1000 * UNIT, "refunded");
    }

    function test_a_pass_after_the_job_closed_is_paid() public {
        bytes32 key = _drawn();
        vm.prank(requester);
        escrow.closeJob(JOB);
        attest(key, PASS);
        settleLater(key);
        eq(escrow.job(JOB).released, AMOUNT, "released");
    }

    function test_a_lane_is_used_again_and_a_generation_never() public {
        bytes32 key = _drawn();
        attest(key, PASS);
        settleLater(key);
        IRenderEscrow.Commit memory c = commitTerms(JOB, key, AMOUNT);
        bytes memory signature = sign(node, commitDigest(c));
        vm.expectRevert(abi.encodeWithSelector(IRenderEscrow.LaneTaken.selector, key, 1));
        vm.prank(coordinator);
        escrow.commit(c, signature);
        bytes32 next = commit(node, 0, AMOUNT);
        eq(uint256(next), uint256(key) + 1, "the next generation");
    }

    function test_a_draw_that_came_too_late_is_anchored_anew_and_the_drawer_pays() public {
        bytes32 key = commit(node, 0, AMOUNT);
        vm.roll(block.number + 2);
        address drawer = escrow.drawerOf(key, batchOf(key));
        vm.roll(block.number + terms().drawBlocks);
        escrow.reanchor(key, batchOf(key));
        fold();
        check(key);
        eq(stakeOf(ownerOf(drawer)), STAKE - UNIT / 10, "the drawer pays");
        draw(key);
    }

    function test_without_the_hash_nobody_pays_for_a_late_draw() public {
        bytes32 key = commit(node, 0, AMOUNT);
        vm.roll(block.number + 300);
        eq(escrow.drawerOf(key, batchOf(key)), address(0), "nobody knows whose it was");
        escrow.reanchor(key, batchOf(key));
        fold();
        check(key);
        for (uint256 i = 0; i < verifiers.length; i++) eq(stakeOf(ownerOf(verifiers[i])), STAKE, "nobody pays");
        draw(key);
    }
}
