// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IRenderEscrow} from "../IRenderEscrow.sol";
import {Permit} from "../Permit.sol";
import {Signatures} from "../Signatures.sol";
import {Farm} from "./support/Farm.sol";

/// @dev Who sits in a committee, what it may say, and what a dispute needs.
contract CommitteesTest is Farm {
    address private node;
    uint96 private constant AMOUNT = 8 * UNIT;

    function setUp() public override {
        super.setUp();
        node = addNode(false, STAKE);
        openJob();
    }

    function _passed(uint256 verifierCount) private returns (bytes32 key) {
        for (uint256 i = 0; i < verifierCount; i++) addVerifier();
        key = commit(node, 0, AMOUNT);
        draw(key);
        attest(key, PASS);
    }

    function _disputed() private returns (bytes32 key) {
        key = _passed(6);
        dispute(key, stranger);
    }

    function test_a_contradiction_without_enough_others_is_unsure() public {
        for (uint256 i = 0; i < 4; i++) addVerifier();
        bytes32 key = commit(node, 0, AMOUNT);
        draw(key);
        attest(key, FAIL);
        attest(key, PASS);
        eq(uint8(stateOf(key)), uint8(IRenderEscrow.BatchState.Judged), "judged at once");
        eq(batchOf(key).outcome, UNCLEAR, "unsure");
    }

    function test_four_others_make_a_committee_of_three() public {
        bytes32 key = _passed(5);
        dispute(key, stranger);
        eq(membersOf[key].length, 3, "an even number drops the last");
        vote(key, FAIL, 2);
        eq(batchOf(key).outcome, FAIL, "two of three");
    }

    function test_a_dispute_that_nobody_could_decide_is_refused() public {
        bytes32 key = _passed(3);
        mint(stranger, UNIT);
        vm.prank(stranger);
        token.approve(address(escrow), UNIT);
        vm.expectRevert(abi.encodeWithSelector(IRenderEscrow.CommitteeTooSmall.selector, 2));
        vm.prank(stranger);
        escrow.dispute(disputeTerms(key, stranger), batchOf(key), "", noPermit());
        eq(token.balanceOf(stranger), UNIT, "the bond was not taken");
    }

    function test_one_operator_has_one_seat() public {
        for (uint256 i = 0; i < 2; i++) addVerifier();
        address crowd = vm.addr(0x99);
        keyOf[crowd] = 0x99;
        putDown(crowd, 10 * STAKE);
        for (uint256 i = 0; i < 10; i++) addVerifierOf(crowd);
        bytes32 key = commit(node, 0, AMOUNT);
        draw(key);
        attest(key, PASS);
        vm.expectPartialRevert(IRenderEscrow.CommitteeTooSmall.selector);
        vm.prank(stranger);
        escrow.dispute(disputeTerms(key, stranger), batchOf(key), "", noPermit());
    }

    function test_the_nodes_own_verifiers_have_no_say() public {
        address own = owners[0];
        putDown(own, 10 * STAKE);
        for (uint256 i = 0; i < 8; i++) addVerifierOf(own);
        bytes32 key = _passed(6);
        yes(ownerOf(batchOf(key).verifier) != own, "not the first");
        dispute(key, stranger);
        for (uint256 i = 0; i < membersOf[key].length; i++) yes(ownerOf(membersOf[key][i]) != own, "not a member");
    }

    function test_what_a_dispute_needs() public {
        bytes32 key = _passed(6);
        mint(stranger, UNIT);
        vm.prank(stranger);
        token.approve(address(escrow), UNIT);
        IRenderEscrow.Batch memory b = batchOf(key);
        IRenderEscrow.Dispute memory d = disputeTerms(key, stranger);
        vm.expectPartialRevert(Signatures.WrongSigner.selector);
        escrow.dispute(d, b, "", noPermit());
        d.bond -= 1;
        vm.expectRevert(abi.encodeWithSelector(IRenderEscrow.WrongBond.selector, UNIT, UNIT - 1));
        vm.prank(stranger);
        escrow.dispute(d, b, "", noPermit());
        d = disputeTerms(key, stranger);
        d.seed = keccak256("another");
        vm.expectRevert(abi.encodeWithSelector(IRenderEscrow.WrongSeed.selector, b.seed));
        vm.prank(stranger);
        escrow.dispute(d, b, "", noPermit());
        d = disputeTerms(key, address(0));
        vm.expectRevert(abi.encodeWithSelector(IRenderEscrow.ZeroAddress.selector));
        vm.prank(address(0));
        escrow.dispute(d, b, "", noPermit());
    }

    function test_a_dispute_can_be_relayed_with_a_signature() public {
        bytes32 key = _passed(6);
        keyOf[vm.addr(0x77)] = 0x77;
        address disputer = vm.addr(0x77);
        mint(disputer, UNIT);
        vm.prank(disputer);
        token.approve(address(escrow), UNIT);
        IRenderEscrow.Dispute memory d = disputeTerms(key, disputer);
        escrow.dispute(d, batchOf(key), sign(disputer, disputeDigest(d)), noPermit());
        fold();
        check(key);
        eq(batchOf(key).disputer, disputer, "the disputer");
        eq(token.balanceOf(disputer), 0, "its bond");
    }

    function test_a_judgement_that_says_nothing_or_is_the_last_cannot_be_disputed() public {
        bytes32 key = _disputed();
        vote(key, FAIL, 3);
        bytes memory reason = abi.encodeWithSelector(IRenderEscrow.NotDisputable.selector, key);
        vm.expectRevert(reason);
        vm.prank(stranger);
        escrow.dispute(disputeTerms(key, stranger), batchOf(key), "", noPermit());
        bytes32 other = commit(node, 1, AMOUNT);
        draw(other);
        attest(other, UNCLEAR);
        attest(other, UNCLEAR);
        vm.expectRevert(abi.encodeWithSelector(IRenderEscrow.NotDisputable.selector, other));
        vm.prank(stranger);
        escrow.dispute(disputeTerms(other, stranger), batchOf(other), "", noPermit());
    }

    function test_it_can_be_disputed_until_it_is_settled() public {
        bytes32 key = _passed(6);
        vm.warp(block.timestamp + 100 days);
        dispute(key, stranger);
        eq(uint8(stateOf(key)), uint8(IRenderEscrow.BatchState.Committee), "still in time");
    }

    function test_a_committee_speaks_with_more_than_half_of_its_members() public {
        bytes32 key = _disputed();
        IRenderEscrow.Batch memory b = batchOf(key);
        address[] memory members = membersOf[key];
        IRenderEscrow.Vote[] memory list = votes(key, FAIL, 2);
        vm.expectRevert(abi.encodeWithSelector(IRenderEscrow.TooFewVotes.selector, 2, 3));
        escrow.attestCommittee(key, b, members, FAIL, list);
        list = votes(key, FAIL, 3);
        list[2] = list[0];
        vm.expectRevert(abi.encodeWithSelector(IRenderEscrow.VoteRepeated.selector, 0));
        escrow.attestCommittee(key, b, members, FAIL, list);
        list = votes(key, FAIL, 3);
        vm.expectPartialRevert(Signatures.WrongSigner.selector);
        escrow.attestCommittee(key, b, members, PASS, list);
        vm.expectRevert(abi.encodeWithSelector(IRenderEscrow.UnknownOutcome.selector, 0));
        escrow.attestCommittee(key, b, members, 0, list);
        list[1].member = 5;
        vm.expectRevert();
        escrow.attestCommittee(key, b, members, FAIL, list);
    }

    function test_no_other_panel_speaks() public {
        bytes32 key = _disputed();
        IRenderEscrow.Batch memory b = batchOf(key);
        address[] memory mine = new address[](3);
        IRenderEscrow.Vote[] memory list = new IRenderEscrow.Vote[](2);
        vm.expectRevert(abi.encodeWithSelector(IRenderEscrow.WrongPanel.selector, b.panel));
        escrow.attestCommittee(key, b, mine, FAIL, list);
        vm.expectRevert(abi.encodeWithSelector(IRenderEscrow.WrongPanel.selector, b.panel));
        escrow.attestCommittee(key, b, new address[](0), FAIL, list);
    }

    function test_a_committee_has_its_window() public {
        bytes32 key = _disputed();
        uint256 until = block.timestamp + terms().committeeWindow;
        vm.warp(until);
        IRenderEscrow.Batch memory b = batchOf(key);
        vm.expectRevert(abi.encodeWithSelector(IRenderEscrow.WindowOpen.selector, until));
        escrow.closeCommittee(key, b);
    }

    function test_replace_where_nobody_else_is_there() public {
        addVerifier();
        bytes32 key = commit(node, 0, AMOUNT);
        draw(key);
        vm.warp(block.timestamp + terms().verdictWindow + 1);
        IRenderEscrow.Batch memory b = batchOf(key);
        vm.expectRevert(abi.encodeWithSelector(IRenderEscrow.NoVerifierLeft.selector, key));
        escrow.replace(key, b);
        vm.warp(block.timestamp + terms().expireWindow);
        escrow.expire(key, b);
        fold();
        check(key);
    }

    function test_the_only_verifier_draws_and_checks_and_its_fail_slashes_nobody() public {
        addVerifier();
        bytes32 key = commit(node, 0, AMOUNT);
        draw(key);
        attest(key, FAIL);
        eq(batchOf(key).outcome, FAIL, "failed");
        no(batchOf(key).agreed, "by one alone");
        settleLater(key);
        eq(lastSlashed, 0, "not slashed");
    }

    function test_nobody_checks_where_nobody_is_there() public {
        bytes32 key = commit(node, 0, AMOUNT);
        vm.roll(block.number + 2);
        IRenderEscrow.Batch memory b = batchOf(key);
        vm.expectRevert(abi.encodeWithSelector(IRenderEscrow.NoVerifierLeft.selector, key));
        vm.prank(coordinator);
        escrow.draw(key, b, 0);
        vm.roll(block.number + 200);
        escrow.reanchor(key, b);
        fold();
        check(key);
    }
}
