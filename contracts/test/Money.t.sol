// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {INodeRegistry} from "../INodeRegistry.sol";
import {IRenderEscrow} from "../IRenderEscrow.sol";
import {RenderEscrow} from "../RenderEscrow.sol";
import {Farm} from "./support/Farm.sol";

/// @dev Amounts, shares and dust, for any figures.
contract MoneyTest is Farm {
    address private node;
    uint96 private constant MOST = type(uint88).max;

    function setUp() public override {
        super.setUp();
        node = addNode(true, 0);
        for (uint256 i = 0; i < 7; i++) addVerifier();
        mint(requester, uint256(MOST) * 100);
    }

    function _open(uint96 budget) private {
        openJob(JOB, budget, MOST, uint40(block.timestamp + 30 days));
    }

    function testFuzz_a_pass_is_shared_without_dust(uint96 amount, uint16 feeBps) public {
        amount = uint96(within(amount, 0, MOST));
        feeBps = uint16(within(feeBps, 0, 1000));
        vm.prank(admin);
        escrow.setFee(feeBps);
        _open(MOST);
        bytes32 key = commit(node, 0, amount);
        draw(key);
        attest(key, PASS);
        settleLater(key);
        uint256 fee = uint256(amount) * feeBps / 10_000;
        eq(escrow.credit(treasury), fee, "fee, rounded down");
        eq(escrow.credit(node), amount - fee, "the rest is the operator's");
        yes(fee * 10 <= amount, "at most a tenth");
        eq(escrow.job(JOB).released, amount, "released");
        eq(escrow.job(JOB).free, MOST - amount, "free");
    }

    function testFuzz_a_fail_slashes_and_shares_without_dust(uint96 amount, uint96 stake, uint96 thawing, bool disputed)
        public
    {
        amount = uint96(within(amount, 0, MOST));
        stake = uint96(within(stake, 1, MOST));
        putDown(node, stake);
        _open(MOST);
        bytes32 key = commit(node, 0, amount);
        thawing = uint96(within(thawing, 0, stake));
        if (thawing != 0) {
            vm.prank(node);
            registry.thaw(thawing);
        }
        draw(key);
        if (disputed) {
            attest(key, PASS);
            dispute(key, stranger);
            vote(key, FAIL, 3);
        } else {
            attest(key, FAIL);
            attest(key, FAIL);
        }
        (uint256 burnt, uint256 theirs) = (escrow.credit(escrow.BURN()), escrow.credit(stranger));
        uint256 requesters = escrow.credit(requester);
        settleLater(key);
        uint256 due = uint256(amount) * 10 < stake ? uint256(amount) * 10 : stake;
        INodeRegistry.Operator memory o = registry.operatorInfo(node);
        eq(uint256(o.stake) + o.thawing, stake - due, "what is left of the stake");
        uint256 half = due / 2;
        eq(escrow.credit(escrow.BURN()) - burnt, due - half, "burnt, rounded up");
        eq(escrow.credit(stranger) - theirs, disputed ? half / 2 : 0, "the disputer's");
        eq(escrow.credit(requester) - requesters, disputed ? half - half / 2 : half, "the requester's");
        eq(escrow.credit(node), 0, "not paid");
        eq(escrow.job(JOB).free, MOST, "all of it is free again");
    }

    function testFuzz_a_lost_bond_is_shared_without_dust(uint96 bond, uint8 voters) public {
        IRenderEscrow.Terms memory t = terms();
        t.disputeBond = uint96(within(bond, 1, MOST));
        _newEscrow(t);
        _open(100);
        bytes32 key = commit(node, 0, 1);
        draw(key);
        attest(key, PASS);
        mint(stranger, t.disputeBond);
        vm.prank(stranger);
        token.approve(address(escrow), type(uint256).max);
        vm.prank(stranger);
        escrow.dispute(
            IRenderEscrow.Dispute(key, batchOf(key).seed, stranger, t.disputeBond), batchOf(key), "", noPermit()
        );
        fold();
        uint256 count = within(voters, 3, 5);
        vote(key, PASS, count);
        uint256 given = escrow.credit(treasury);
        for (uint256 i = 0; i < count; i++) {
            uint256 share = escrow.credit(ownerOf(membersOf[key][i]));
            eq(share, t.disputeBond / count, "each the same");
            given += share;
        }
        eq(given, t.disputeBond, "all of it");
        yes(escrow.credit(treasury) < count, "less than one each to the treasury");
        eq(escrow.credit(stranger), 0, "nothing back");
    }

    function testFuzz_no_order_of_deposits_and_thaws_shortens_a_lock(uint256[8] memory steps) public {
        putDown(node, 1000);
        uint256 bonded = 1000;
        uint256 thawing = 0;
        uint256 clock = 0;
        uint256 out = 0;
        for (uint256 i = 0; i < steps.length; i++) {
            uint256 what = steps[i] % 4;
            uint256 amount = within(steps[i] >> 8, 1, 500);
            if (what == 0) {
                putDown(node, uint96(amount));
                bonded += amount;
            } else if (what == 1 && amount <= bonded) {
                vm.prank(node);
                registry.thaw(uint96(amount));
                bonded -= amount;
                thawing += amount;
                clock = block.timestamp + 30 days;
            } else if (what == 2) {
                vm.warp(block.timestamp + within(steps[i] >> 8, 1, 20 days));
            } else if (thawing != 0 && block.timestamp >= clock) {
                registry.unstake(node);
                out += thawing;
                thawing = 0;
            } else {
                vm.expectRevert();
                registry.unstake(node);
            }
            INodeRegistry.Operator memory o = registry.operatorInfo(node);
            eq(o.stake, bonded, "bonded");
            eq(o.thawing, thawing, "thawing");
            eq(token.balanceOf(node), out, "out");
        }
    }

    function testFuzz_nothing_but_the_true_batch_is_taken(uint256 field, bytes32 value) public {
        _open(100 * UNIT);
        bytes32 key = commit(node, 0, UNIT);
        draw(key);
        attest(key, PASS);
        vm.warp(block.timestamp + 1 days);
        (bytes32[] memory keys, IRenderEscrow.Batch[] memory list) = one(key);
        bytes memory data = abi.encodeCall(escrow.settle, (keys, list));
        // The 22 words of the batch are the last of the data.
        uint256 place = data.length - (22 - field % 22) * 32;
        bytes32 before;
        assembly {
            before := mload(add(add(data, 0x20), place))
            mstore(add(add(data, 0x20), place), value)
        }
        (bool ok, bytes memory answer) = address(escrow).call(data);
        yes(ok == (value == before), "only as it is");
        if (!ok) eq(bytes32(bytes4(answer)), bytes32(IRenderEscrow.WrongBatch.selector), "and for that reason");
    }

    function _newEscrow(IRenderEscrow.Terms memory t) private {
        // The registry serves the first one; this one only needs to be told who is there.
        escrow = new RenderEscrow(token, registry, address(manager), coordinator, treasury, 0, t);
        vm.store(address(registry), bytes32(uint256(3)), bytes32(uint256(uint160(address(escrow)))));
        eq(registry.escrow(), address(escrow), "slot 3, as its comment says");
        vm.prank(requester);
        token.approve(address(escrow), type(uint256).max);
    }
}
