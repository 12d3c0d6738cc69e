// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Funds} from "../Funds.sol";
import {INodeRegistry} from "../INodeRegistry.sol";
import {IRenderEscrow} from "../IRenderEscrow.sol";
import {NodeRegistry} from "../NodeRegistry.sol";
import {Permit} from "../Permit.sol";
import {RenderEscrow} from "../RenderEscrow.sol";
import {Signatures} from "../Signatures.sol";
import {Farm} from "./support/Farm.sol";
import {HostileToken, HostileWallet} from "./support/Hostile.sol";

/// @dev What went wrong elsewhere, tried here. The token does what it wants, so this is more than a farm would meet.
contract AttacksTest is Farm {
    HostileToken private hostile;
    address private node;
    address private owner;
    uint96 private constant AMOUNT = 8 * UNIT;

    function makeToken() internal override returns (IERC20) {
        hostile = new HostileToken();
        return hostile;
    }

    function mint(address to, uint256 amount) internal override {
        hostile.mint(to, amount);
    }

    function setUp() public override {
        super.setUp();
        node = addNode(false, STAKE);
        owner = owners[0];
        for (uint256 i = 0; i < 6; i++) addVerifier();
        openJob();
    }

    function _passed(uint32 lane) private returns (bytes32 key) {
        key = commit(node, lane, AMOUNT);
        draw(key);
        attest(key, PASS);
    }

    function _failed(uint32 lane) private returns (bytes32 key) {
        key = commit(node, lane, AMOUNT);
        draw(key);
        attest(key, FAIL);
        attest(key, FAIL);
    }

    function test_reentrancy_through_the_token() public {
        bytes32 key = _passed(0);
        bytes32 bad = _failed(1);
        settleLater(key);
        (bytes32[] memory keys, IRenderEscrow.Batch[] memory list) = one(bad);
        IRenderEscrow.OpenJob memory o =
            IRenderEscrow.OpenJob(requester, keccak256("new"), UNIT, UNIT, uint40(block.timestamp + 1 days));
        bytes memory signature = sign(requester, openDigest(o));
        // From within a withdrawal, a slash, an opening: none of the doors through which money goes is open.
        bytes[] memory calls = new bytes[](6);
        calls[0] = abi.encodeCall(escrow.withdrawFor, (owner));
        calls[1] = abi.encodeCall(escrow.withdrawFor, (treasury));
        calls[2] = abi.encodeCall(escrow.settle, (keys, list));
        calls[3] = abi.encodeCall(escrow.openJob, (o, signature, noPermit()));
        calls[4] = abi.encodeCall(escrow.addFunds, (JOB, 1, noPermit()));
        calls[5] = abi.encodeCall(escrow.dispute, (disputeTerms(bad, owner), list[0], "", noPermit()));
        for (uint256 i = 0; i < calls.length; i++) {
            uint256 state = vm.snapshotState();
            hostile.callBack(address(escrow), calls[i]);
            escrow.withdrawFor(owner);
            _blocked();
            vm.revertToState(state);
            hostile.callBack(address(escrow), calls[i]);
            escrow.settle(keys, list);
            _blocked();
            vm.revertToState(state);
            hostile.callBack(address(escrow), calls[i]);
            escrow.openJob(o, signature, noPermit());
            _blocked();
            vm.revertToState(state);
        }
    }

    function _blocked() private view {
        yes(hostile.calledBack(), "it was tried");
        bytes4 reason = bytes4(hostile.answer());
        yes(reason == ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector, "and refused");
    }

    function test_reentrancy_into_what_is_not_guarded_finds_the_books_closed() public {
        bytes32 bad = _failed(0);
        (bytes32[] memory keys, IRenderEscrow.Batch[] memory list) = one(bad);
        vm.warp(block.timestamp + terms().disputeWindow);
        // A settlement that slashes: when the token is called the batch is over, so nothing about it can be done again.
        hostile.callBack(address(escrow), abi.encodeCall(escrow.expire, (bad, list[0])));
        escrow.settle(keys, list);
        yes(hostile.calledBack(), "it was tried");
        eq(bytes32(bytes4(hostile.answer())), bytes32(IRenderEscrow.WrongBatch.selector), "and refused");
        eq(escrow.job(JOB).free, 1000 * UNIT, "the money came back once");
    }

    function test_reentrancy_into_the_registry() public {
        vm.prank(owner);
        registry.thaw(UNIT);
        vm.warp(block.timestamp + 30 days);
        hostile.callBack(address(registry), abi.encodeCall(registry.unstake, (owner)));
        registry.unstake(owner);
        _blocked();
        eq(token.balanceOf(owner), UNIT, "once");
    }

    function test_a_wallet_that_is_asked_for_its_signature_can_change_nothing() public {
        HostileWallet wallet = new HostileWallet();
        mint(address(wallet), 10 * UNIT);
        vm.prank(address(wallet));
        token.approve(address(escrow), type(uint256).max);
        IRenderEscrow.OpenJob memory o = IRenderEscrow.OpenJob(
            address(wallet), keccak256("its"), UNIT, UNIT, uint40(block.timestamp + 1 days)
        );
        // It tries to withdraw in its answer: a staticcall cannot.
        wallet.set(HostileWallet.Mode.Reenter, address(escrow), abi.encodeCall(escrow.withdrawFor, (owner)));
        vm.expectPartialRevert(Signatures.WrongSigner.selector);
        escrow.openJob(o, "", noPermit());
        wallet.set(HostileWallet.Mode.Says, address(0), "");
        escrow.openJob(o, "", noPermit());
        eq(escrow.job(o.jobKey).requester, address(wallet), "a contract can be a requester");
    }

    function test_a_wallet_that_burns_gas_or_answers_without_end_costs_a_bounded_amount() public {
        HostileWallet wallet = new HostileWallet();
        IRenderEscrow.OpenJob memory o = IRenderEscrow.OpenJob(
            address(wallet), keccak256("its"), UNIT, UNIT, uint40(block.timestamp + 1 days)
        );
        HostileWallet.Mode[3] memory modes =
            [HostileWallet.Mode.Burns, HostileWallet.Mode.Floods, HostileWallet.Mode.SaysNothing];
        for (uint256 i = 0; i < 3; i++) {
            wallet.set(modes[i], address(0), "");
            uint256 before = gasleft();
            vm.expectPartialRevert(Signatures.WrongSigner.selector);
            escrow.openJob(o, "", noPermit());
            yes(before - gasleft() < 200_000, "bounded");
        }
    }

    function test_a_token_that_takes_a_fee_is_refused_wherever_money_comes_in() public {
        hostile.setFee(1);
        bytes32 key = _passed(0);
        IRenderEscrow.OpenJob memory o =
            IRenderEscrow.OpenJob(requester, keccak256("new"), UNIT, UNIT, uint40(block.timestamp + 1 days));
        bytes memory signature = sign(requester, openDigest(o));
        bytes memory reason = abi.encodeWithSelector(Funds.WrongAmountReceived.selector, UNIT, UNIT - 1);
        vm.expectRevert(reason);
        escrow.openJob(o, signature, noPermit());
        vm.expectRevert(reason);
        vm.prank(requester);
        escrow.addFunds(JOB, UNIT, noPermit());
        vm.expectRevert(reason);
        vm.prank(requester);
        escrow.dispute(disputeTerms(key, requester), batchOf(key), "", noPermit());
        mint(owner, UNIT);
        vm.expectRevert(reason);
        vm.prank(owner);
        registry.stake(UNIT, noPermit());
    }

    function test_a_fee_that_begins_later_makes_no_money_out_of_a_slash() public {
        bytes32 key = _failed(0);
        hostile.setFee(3);
        settleLater(key);
        uint256 credited = escrow.credit(requester) + escrow.credit(escrow.BURN());
        eq(credited, 80 * UNIT - 3, "what arrived is what is shared out");
        yes(token.balanceOf(address(escrow)) >= escrow.job(JOB).free + credited, "solvent");
    }

    function test_nobody_is_paid_at_the_zero_address_and_nothing_is_blocked_by_one() public {
        // No role can be the zero address; who is paid signed, and zero signs nothing.
        INodeRegistry.NodeTerms memory t = INodeRegistry.NodeTerms(address(0), address(0), 0, 0, 0);
        vm.expectPartialRevert(Signatures.WrongSigner.selector);
        registry.registerNode(t, hex"00", hex"00");
        t.operator = owner;
        t.nonce = registry.nonces(owner);
        bytes memory signature = sign(owner, nodeDigest(t));
        vm.expectPartialRevert(Signatures.WrongSigner.selector);
        registry.registerNode(t, signature, hex"00");
        INodeRegistry.StakeTerms memory s = INodeRegistry.StakeTerms(address(0), 1, 0);
        vm.expectPartialRevert(Signatures.WrongSigner.selector);
        registry.stakeFor(s, hex"00", noPermit());
    }

    function test_a_signature_is_worth_nothing_elsewhere() public {
        bytes32 key = nextKey(node, 0);
        IRenderEscrow.Commit memory c = commitTerms(JOB, key, AMOUNT);
        bytes memory signature = sign(node, commitDigest(c));
        // Another job.
        bytes32 other = keccak256("other");
        openJob(other, 100 * UNIT, UNIT, uint40(block.timestamp + 1 days));
        c.jobKey = other;
        vm.expectPartialRevert(Signatures.WrongSigner.selector);
        vm.prank(coordinator);
        escrow.commit(c, signature);
        c.jobKey = JOB;
        // Another generation, another lane.
        c.batchKey = bytes32(uint256(key) + 1);
        vm.expectPartialRevert(Signatures.WrongSigner.selector);
        vm.prank(coordinator);
        escrow.commit(c, signature);
        c.batchKey = bytes32(uint256(key) + (1 << 64));
        vm.expectPartialRevert(Signatures.WrongSigner.selector);
        vm.prank(coordinator);
        escrow.commit(c, signature);
        c.batchKey = key;
        // Another chain.
        vm.chainId(5);
        vm.expectPartialRevert(Signatures.WrongSigner.selector);
        vm.prank(coordinator);
        escrow.commit(c, signature);
        vm.chainId(31_337);
        // Another contract, of the same terms.
        RenderEscrow twin = new RenderEscrow(token, registry, admin, coordinator, treasury, 0, terms());
        RenderEscrow mine = escrow;
        escrow = twin;
        vm.prank(requester);
        token.approve(address(twin), type(uint256).max);
        openJob();
        vm.expectPartialRevert(Signatures.WrongSigner.selector);
        vm.prank(coordinator);
        twin.commit(c, signature);
        // Here, once; and never again after the lane is free.
        escrow = mine;
        vm.recordLogs();
        vm.prank(coordinator);
        escrow.commit(c, signature);
        fold();
        draw(key);
        attest(key, PASS);
        settleLater(key);
        vm.expectPartialRevert(IRenderEscrow.LaneTaken.selector);
        vm.prank(coordinator);
        escrow.commit(c, signature);
    }

    function test_an_opening_cannot_be_replayed() public {
        IRenderEscrow.OpenJob memory o =
            IRenderEscrow.OpenJob(requester, keccak256("new"), UNIT, UNIT, uint40(block.timestamp + 1 days));
        bytes memory signature = sign(requester, openDigest(o));
        escrow.openJob(o, signature, noPermit());
        vm.prank(requester);
        escrow.closeJob(o.jobKey);
        vm.expectPartialRevert(IRenderEscrow.JobExists.selector);
        escrow.openJob(o, signature, noPermit());
    }

    function test_a_permit_that_somebody_used_before_stops_nothing() public {
        IRenderEscrow.OpenJob memory o =
            IRenderEscrow.OpenJob(requester, keccak256("new"), UNIT, UNIT, uint40(block.timestamp + 1 days));
        Permit memory p = Permit(UNIT, block.timestamp + 1, 27, 0, 0);
        escrow.openJob(o, sign(requester, openDigest(o)), p);
        eq(escrow.job(o.jobKey).funded, UNIT, "opened from the allowance");
    }

    function test_nobody_gains_by_slashing_itself() public {
        // Node, requester and disputer are one: of what it loses at most half comes back to it.
        bytes32 key = commit(node, 0, AMOUNT);
        draw(key);
        attest(key, PASS);
        uint256 before = escrow.credit(requester);
        dispute(key, requester);
        vote(key, FAIL, 3);
        settle(key);
        uint256 back = escrow.credit(requester) - before - UNIT;
        // Of the node's 80 and of the verifier's 10, half each.
        eq(back, 45 * UNIT, "half of what was slashed");
        eq(escrow.credit(escrow.BURN()), 45 * UNIT, "the other half is nobody's");
    }

    function test_nobody_takes_its_stake_out_early_by_missing() public {
        for (uint256 i = 0; i < 5; i++) {
            bytes32 key = commit(node, uint32(i), AMOUNT);
            vm.roll(block.number + 130);
            escrow.reanchor(key, batchOf(key));
            fold();
        }
        eq(escrow.credit(requester), 5 * UNIT / 20, "half of five misses");
        eq(escrow.credit(escrow.BURN()), 5 * UNIT / 20, "half is burnt");
    }

    function test_a_receiver_that_cannot_receive_blocks_itself_only() public {
        bytes32 key = _passed(0);
        settleLater(key);
        hostile.block_(owner, true);
        vm.expectRevert();
        escrow.withdrawFor(owner);
        escrow.withdrawFor(treasury);
        bytes32 next = _passed(1);
        settleLater(next);
        hostile.block_(owner, false);
        escrow.withdrawFor(owner);
        eq(token.balanceOf(owner), 2 * (AMOUNT - AMOUNT * FEE_BPS / 10_000), "nothing was lost");
    }

    function test_a_stranger_cannot_take_a_shown_secret_for_its_own_batch() public {
        // A verifier's secret for one batch is on its way; with it a node could choose which of its batches it draws.
        bytes32 a = commit(node, 0, AMOUNT);
        bytes32 b;
        address drawer;
        vm.roll(block.number + 2);
        drawer = escrow.drawerOf(a, batchOf(a));
        uint32 lane = 1;
        do {
            b = commit(node, lane++, AMOUNT);
            vm.roll(block.number + 2);
        } while (escrow.drawerOf(b, batchOf(b)) != drawer);
        bytes32 secret = preimageOf[registry.headOf(drawer)];
        vm.expectPartialRevert(IRenderEscrow.NotDrawer.selector);
        vm.prank(node);
        escrow.draw(b, batchOf(b), secret);
    }
}
