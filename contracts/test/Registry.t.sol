// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {INodeRegistry} from "../INodeRegistry.sol";
import {IRenderEscrow} from "../IRenderEscrow.sol";
import {NodeRegistry} from "../NodeRegistry.sol";
import {RenderEscrow} from "../RenderEscrow.sol";
import {Signatures} from "../Signatures.sol";
import {Farm} from "./support/Farm.sol";

/// @dev Nodes, stake and the list of verifiers.
contract RegistryTest is Farm {
    address private owner;
    address private node;

    function setUp() public override {
        super.setUp();
        node = addNode(false, STAKE);
        owner = owners[0];
    }

    function _refused(bytes4 what, bytes memory parameters) private {
        vm.expectRevert(abi.encodePacked(what, parameters));
    }

    function test_a_node_and_its_operator_both_sign() public {
        address other = vm.addr(0x99);
        keyOf[other] = 0x99;
        INodeRegistry.NodeTerms memory t = INodeRegistry.NodeTerms(other, owner, 0, 7, registry.nonces(owner));
        bytes memory good = sign(other, nodeDigest(t));
        bytes memory ours = sign(owner, nodeDigest(t));
        vm.expectPartialRevert(Signatures.WrongSigner.selector);
        registry.registerNode(t, good, good);
        vm.expectPartialRevert(Signatures.WrongSigner.selector);
        registry.registerNode(t, ours, ours);
        registry.registerNode(t, ours, good);
        eq(registry.nodeInfo(other).operator, owner, "registered");
        // The same signatures a second time.
        _refused(INodeRegistry.WrongNonce.selector, abi.encode(t.nonce + 1, t.nonce));
        registry.registerNode(t, ours, good);
    }

    function test_a_node_is_taken_until_its_operator_lets_it_go() public {
        address thief = vm.addr(0x99);
        keyOf[thief] = 0x99;
        INodeRegistry.NodeTerms memory t = INodeRegistry.NodeTerms(node, thief, 0, 7, 0);
        bytes memory a = sign(thief, nodeDigest(t));
        bytes memory b = sign(node, nodeDigest(t));
        _refused(INodeRegistry.NodeTaken.selector, abi.encode(node, owner));
        registry.registerNode(t, a, b);
        _refused(INodeRegistry.NotOperator.selector, abi.encode(thief, owner));
        vm.prank(thief);
        registry.removeNode(node);
        vm.prank(owner);
        registry.removeNode(node);
        _refused(INodeRegistry.NodeUnknown.selector, abi.encode(node));
        vm.prank(owner);
        registry.removeNode(node);
        registry.registerNode(t, a, b);
        eq(registry.nodeInfo(node).operator, thief, "free to go");
    }

    function test_class_and_ask_can_change() public {
        INodeRegistry.NodeTerms memory t =
            INodeRegistry.NodeTerms(node, owner, keccak256("gpu"), 9, registry.nonces(owner));
        registry.registerNode(t, sign(owner, nodeDigest(t)), sign(node, nodeDigest(t)));
        eq(registry.nodeInfo(node).ask, 9, "ask");
        eq(registry.nodeInfo(node).deviceClass, keccak256("gpu"), "class");
    }

    function test_stake_for_an_operator_that_signed() public {
        mint(owner, UNIT);
        INodeRegistry.StakeTerms memory t = INodeRegistry.StakeTerms(owner, UNIT, registry.nonces(owner));
        bytes memory signature = sign(owner, stakeDigest(t));
        registry.stakeFor(t, signature, noPermit());
        eq(stakeOf(owner), STAKE + UNIT, "staked");
        mint(owner, UNIT);
        _refused(INodeRegistry.WrongNonce.selector, abi.encode(t.nonce + 1, t.nonce));
        registry.stakeFor(t, signature, noPermit());
        t.nonce += 1;
        vm.expectPartialRevert(Signatures.WrongSigner.selector);
        registry.stakeFor(t, signature, noPermit());
    }

    function test_stake_thaws_its_whole_time_and_goes_to_its_operator() public {
        vm.prank(owner);
        registry.thaw(40 * UNIT);
        uint40 thawsAt = registry.operatorInfo(owner).thawsAt;
        eq(thawsAt, block.timestamp + 30 days, "thaws at");
        vm.warp(thawsAt - 1);
        _refused(INodeRegistry.StillThawing.selector, abi.encode(thawsAt));
        registry.unstake(owner);
        vm.warp(thawsAt);
        vm.prank(stranger);
        registry.unstake(owner);
        eq(token.balanceOf(owner), 40 * UNIT, "to the operator, whoever calls");
        _refused(INodeRegistry.ZeroAmount.selector, "");
        registry.unstake(owner);
    }

    function test_thawing_more_waits_anew_and_a_deposit_changes_no_clock() public {
        vm.prank(owner);
        registry.thaw(10 * UNIT);
        uint40 first = registry.operatorInfo(owner).thawsAt;
        vm.warp(block.timestamp + 20 days);
        putDown(owner, UNIT);
        eq(registry.operatorInfo(owner).thawsAt, first, "a deposit changes no clock");
        eq(registry.operatorInfo(owner).thawing, 10 * UNIT, "and thaws nothing");
        vm.prank(owner);
        registry.thaw(UNIT);
        eq(registry.operatorInfo(owner).thawsAt, block.timestamp + 30 days, "all of it waits anew");
        vm.warp(first);
        vm.expectPartialRevert(INodeRegistry.StillThawing.selector);
        registry.unstake(owner);
    }

    function test_nobody_thaws_nothing_or_more_than_it_has() public {
        _refused(INodeRegistry.ZeroAmount.selector, "");
        vm.prank(owner);
        registry.thaw(0);
        _refused(INodeRegistry.StakeTooSmall.selector, abi.encode(STAKE, STAKE + 1));
        vm.prank(owner);
        registry.thaw(STAKE + 1);
        _refused(INodeRegistry.ZeroAmount.selector, "");
        vm.prank(owner);
        registry.stake(0, noPermit());
    }

    function test_only_the_escrow_slashes_and_uses_secrets() public {
        _refused(INodeRegistry.NotEscrow.selector, abi.encode(address(this)));
        registry.slash(owner, 1, 0);
        _refused(INodeRegistry.NotEscrow.selector, abi.encode(address(this)));
        registry.useSecret(0, 0, owner, 0);
    }

    function test_a_slash_takes_bonded_first_then_thawing_then_no_more() public {
        vm.prank(owner);
        registry.thaw(40 * UNIT);
        vm.prank(address(escrow));
        eq(registry.slash(owner, 70 * UNIT, 0), 70 * UNIT, "taken");
        eq(stakeOf(owner), 0, "bonded");
        eq(registry.operatorInfo(owner).thawing, 30 * UNIT, "thawing");
        vm.prank(address(escrow));
        eq(registry.slash(owner, 70 * UNIT, 0), 30 * UNIT, "what is there");
        vm.prank(address(escrow));
        eq(registry.slash(owner, 70 * UNIT, 0), 0, "nothing, and no revert");
        eq(token.balanceOf(address(escrow)), 100 * UNIT, "in the escrow");
    }

    function test_the_escrow_is_set_once_by_the_deployer_and_has_to_fit() public {
        _refused(INodeRegistry.EscrowTaken.selector, abi.encode(escrow));
        registry.setEscrow(address(escrow));
        NodeRegistry fresh = new NodeRegistry(token, MIN_STAKE, 0, 10 days);
        _refused(INodeRegistry.NotOperator.selector, abi.encode(stranger, address(this)));
        vm.prank(stranger);
        fresh.setEscrow(address(escrow));
        _refused(INodeRegistry.WrongEscrow.selector, abi.encode(escrow));
        fresh.setEscrow(address(escrow));
        // 7 + 1 + 2 days is the longest life of a batch: thawing has to take longer.
        RenderEscrow its = new RenderEscrow(token, fresh, admin, coordinator, treasury, 0, terms());
        _refused(INodeRegistry.ThawTimeTooShort.selector, abi.encode(10 days, 10 days));
        fresh.setEscrow(address(its));
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.ZeroAmount.selector));
        new NodeRegistry(token, 0, 0, 30 days);
    }

    function test_a_verifier_waits_and_is_backed_by_a_stake_of_its_own() public {
        address a = vm.addr(0x71);
        address b = vm.addr(0x72);
        join(a, owner, newHead());
        _refused(INodeRegistry.VerifierNotYet.selector, abi.encode(a, uint40(block.timestamp + 1 days)));
        registry.activateVerifier(a);
        vm.warp(block.timestamp + 1 days);
        registry.activateVerifier(a);
        _refused(INodeRegistry.VerifierActive.selector, abi.encode(a));
        registry.activateVerifier(a);
        join(b, owner, newHead());
        vm.warp(block.timestamp + 1 days);
        registry.activateVerifier(b);
        eq(registry.verifierCount(), 2, "100 is enough for two");
        INodeRegistry.VerifierTerms memory t =
            INodeRegistry.VerifierTerms(vm.addr(0x73), owner, keccak256("head"), registry.nonces(owner));
        bytes memory signature = sign(owner, verifierDigest(t));
        _refused(INodeRegistry.StakeTooSmall.selector, abi.encode(STAKE, 3 * MIN_STAKE));
        registry.joinVerifier(t, signature);
    }

    function test_what_else_a_verifier_cannot() public {
        address a = vm.addr(0x71);
        bytes32 head = newHead();
        join(a, owner, head);
        INodeRegistry.VerifierTerms memory t = INodeRegistry.VerifierTerms(a, owner, newHead(), registry.nonces(owner));
        bytes memory signature = sign(owner, verifierDigest(t));
        _refused(INodeRegistry.WrongHead.selector, abi.encode(head));
        registry.joinVerifier(t, signature);
        t.head = 0;
        _refused(INodeRegistry.ZeroHead.selector, "");
        registry.joinVerifier(t, signature);
        t.verifier = address(0);
        _refused(INodeRegistry.ZeroAddress.selector, "");
        registry.joinVerifier(t, signature);
        t = INodeRegistry.VerifierTerms(a, requester, head, 0);
        signature = sign(requester, verifierDigest(t));
        _refused(INodeRegistry.VerifierTaken.selector, abi.encode(a));
        registry.joinVerifier(t, signature);
        _refused(INodeRegistry.VerifierUnknown.selector, abi.encode(stranger));
        registry.activateVerifier(stranger);
        _refused(INodeRegistry.VerifierUnknown.selector, abi.encode(a));
        vm.prank(owner);
        registry.leaveVerifier(a);
    }

    function test_who_left_can_come_back_when_its_place_is_free() public {
        address a = addVerifier();
        address its = ownerOf(a);
        bytes32 head = registry.headOf(a);
        _refused(INodeRegistry.NotOperator.selector, abi.encode(stranger, its));
        vm.prank(stranger);
        registry.leaveVerifier(a);
        vm.prank(its);
        registry.leaveVerifier(a);
        no(registry.isActive(a), "gone");
        eq(registry.verifierCount(), 0, "nobody is there");
        _refused(INodeRegistry.VerifierUnknown.selector, abi.encode(a));
        vm.prank(its);
        registry.leaveVerifier(a);
        _refused(INodeRegistry.VerifierUnknown.selector, abi.encode(a));
        registry.activateVerifier(a);
        INodeRegistry.VerifierTerms memory t = INodeRegistry.VerifierTerms(a, its, head, registry.nonces(its));
        bytes memory signature = sign(its, verifierDigest(t));
        _refused(INodeRegistry.VerifierActive.selector, abi.encode(a));
        registry.joinVerifier(t, signature);
        vm.roll(block.number + registry.LEAVE_BLOCKS() + 2);
        registry.joinVerifier(t, signature);
        vm.warp(block.timestamp + 1 days);
        registry.activateVerifier(a);
        yes(registry.isActive(a), "back");
        eq(registry.operatorInfo(its).places, 1, "one place");
    }

    function test_anyone_takes_out_a_verifier_whose_stake_is_gone() public {
        address a = addVerifier();
        address its = ownerOf(a);
        vm.prank(its);
        registry.thaw(STAKE - MIN_STAKE);
        vm.expectPartialRevert(INodeRegistry.NotOperator.selector);
        registry.leaveVerifier(a);
        vm.prank(its);
        registry.thaw(1);
        registry.leaveVerifier(a);
        no(registry.isActive(a), "out");
    }

    function test_the_list_has_an_end_and_its_places_are_used_again() public {
        for (uint256 i = 0; i < 64; i++) addVerifier();
        address late = vm.addr(0x99);
        keyOf[late] = 0x99;
        putDown(late, STAKE);
        join(late, late, newHead());
        vm.warp(block.timestamp + 1 days);
        _refused(INodeRegistry.TooManyVerifiers.selector, abi.encode(64));
        registry.activateVerifier(late);
        address gone = verifiers[10];
        address its = ownerOf(gone);
        vm.prank(its);
        registry.leaveVerifier(gone);
        _refused(INodeRegistry.TooManyVerifiers.selector, abi.encode(64));
        registry.activateVerifier(late);
        vm.roll(block.number + registry.LEAVE_BLOCKS() + 2);
        registry.activateVerifier(late);
        eq(registry.verifierCount(), 64, "full again");
        eq(registry.operatorInfo(its).places, 0, "the place is no longer its");
        eq(registry.verifierInfo(gone).place, 0, "nor the verifier's");
        eq(registry.operatorOf(gone), its, "whose it was stays known");
    }
}
