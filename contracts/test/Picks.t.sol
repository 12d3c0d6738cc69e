// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IRenderEscrow} from "../IRenderEscrow.sol";
import {Farm} from "./support/Farm.sol";

/// @dev Who draws and who checks follows from the list as it was at the anchor, whatever anybody does afterwards.
contract PicksTest is Farm {
    address private node;
    uint96 private constant AMOUNT = 8 * UNIT;

    function setUp() public override {
        super.setUp();
        node = addNode(false, STAKE);
        for (uint256 i = 0; i < 4; i++) addVerifier();
        openJob();
    }

    function _drawer(bytes32 key) private view returns (address) {
        return escrow.drawerOf(key, batchOf(key));
    }

    function test_who_comes_after_the_anchor_draws_nothing() public {
        bytes32 key = commit(node, 0, AMOUNT);
        vm.roll(block.number + 2);
        address before = _drawer(key);
        for (uint256 i = 0; i < 20; i++) addVerifier();
        eq(_drawer(key), before, "the drawer stays");
        draw(key);
        for (uint256 i = 4; i < verifiers.length; i++) yes(batchOf(key).verifier != verifiers[i], "and so does who checks");
    }

    function test_who_leaves_after_the_anchor_still_is_the_drawer_and_pays_for_silence() public {
        bytes32 key = commit(node, 0, AMOUNT);
        vm.roll(block.number + 2);
        address drawer = _drawer(key);
        address its = ownerOf(drawer);
        vm.prank(its);
        registry.leaveVerifier(drawer);
        vm.prank(its);
        registry.thaw(STAKE);
        eq(_drawer(key), drawer, "still");
        vm.roll(block.number + 127);
        escrow.reanchor(key, batchOf(key));
        fold();
        check(key);
        eq(registry.operatorInfo(its).thawing, STAKE - UNIT / 10, "pays out of what thaws");
        for (uint256 i = 0; i < 4; i++) {
            if (verifiers[i] != drawer) eq(stakeOf(ownerOf(verifiers[i])), STAKE, "nobody pays for it");
        }
        vm.roll(block.number + 2);
        yes(_drawer(key) != drawer, "and is out of the next draw");
    }

    function test_who_left_is_not_asked_to_check() public {
        bytes32 key = commit(node, 0, AMOUNT);
        vm.roll(block.number + 2);
        address drawer = _drawer(key);
        bytes32 secret = preimageOf[registry.headOf(drawer)];
        for (uint256 i = 0; i < 4; i++) {
            if (verifiers[i] == drawer) continue;
            vm.prank(ownerOf(verifiers[i]));
            registry.leaveVerifier(verifiers[i]);
        }
        vm.prank(coordinator);
        escrow.draw(key, batchOf(key), secret);
        fold();
        check(key);
        eq(batchOf(key).verifier, drawer, "only the drawer is left");
    }

    function test_the_history_contract_shows_older_hashes() public {
        bytes32 key = commit(node, 0, AMOUNT);
        uint256 deciding = uint256(batchOf(key).anchor) + 1;
        vm.roll(deciding + 1);
        address drawer = _drawer(key);
        bytes32 hash = blockhash(deciding);
        vm.roll(deciding + 1000);
        eq(_drawer(key), address(0), "gone");
        vm.etch(0x0000F90827F1C53a10cb7A02335B175320002935, address(new History(deciding, hash)).code);
        vm.store(0x0000F90827F1C53a10cb7A02335B175320002935, bytes32(deciding), hash);
        eq(_drawer(key), drawer, "the same drawer");
    }

    function testFuzz_a_pick_is_of_those_that_were_there_and_of_none_of_the_excluded(
        bytes32 entropy,
        uint256 anchor,
        uint256 there,
        uint8 excluded
    ) public view {
        anchor = within(anchor, 990, 1010);
        there = within(there, anchor, 1020);
        address one = ownerOf(verifiers[excluded % 4]);
        (address verifier, address operator) = registry.pick(entropy, anchor, there, one, address(0), address(0));
        address best;
        for (uint256 i = 0; i < 4; i++) {
            // Each was activated in its block, the first in 1000.
            if (1000 + i > anchor || ownerOf(verifiers[i]) == one) continue;
            if (best == address(0) || _rank(entropy, verifiers[i]) > _rank(entropy, best)) best = verifiers[i];
        }
        eq(verifier, best, "the highest of those that may");
        eq(operator, best == address(0) ? address(0) : ownerOf(best), "and whose it is");
    }

    function _rank(bytes32 entropy, address verifier) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(entropy, verifier)));
    }

    function test_each_is_drawn_as_often_as_the_others() public view {
        uint256[4] memory drawn;
        for (uint256 i = 0; i < 4000; i++) {
            (address verifier,) =
                registry.pick(keccak256(abi.encode(i)), block.number, block.number, owners[0], address(0), address(0));
            for (uint256 k = 0; k < 4; k++) if (verifier == verifiers[k]) drawn[k] += 1;
        }
        // Four standard deviations (27 each) around a thousand.
        for (uint256 k = 0; k < 4; k++) yes(drawn[k] > 890 && drawn[k] < 1110, "as often");
    }

    function testFuzz_a_committee_has_each_operator_once(bytes32 entropy, uint8 most) public view {
        address not = ownerOf(verifiers[0]);
        address[] memory list =
            registry.pickMany(entropy, block.number, block.number, not, address(0), address(0), most % 8);
        eq(list.length, most % 8 < 3 ? most % 8 : 3, "as many as there are");
        for (uint256 i = 0; i < list.length; i++) {
            yes(ownerOf(list[i]) != not, "not the excluded");
            for (uint256 k = 0; k < i; k++) {
                yes(ownerOf(list[k]) != ownerOf(list[i]), "once");
                yes(_rank(entropy, list[k]) > _rank(entropy, list[i]), "in the order of the draw");
            }
        }
    }
}

/// @dev Stands for the contract of EIP-2935: answers a block's number with what is stored under it.
contract History {
    constructor(uint256, bytes32) {}

    fallback() external {
        assembly {
            mstore(0, sload(calldataload(0)))
            return(0, 32)
        }
    }
}
