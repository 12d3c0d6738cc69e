// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";
import {INodeRegistry} from "../INodeRegistry.sol";
import {Verifiers} from "./Verifiers.sol";

/// @title Drawing verifiers from the list
/// @notice By the highest hash of entropy and verifier, not by a place in the list: a place could be moved by others, who
/// come or go once they know the entropy.
abstract contract Picks is Verifiers {
    /// @inheritdoc INodeRegistry
    function useSecret(bytes32 entropy, uint256 anchor, address operator, bytes32 preimage)
        external
        returns (address drawer)
    {
        _requireEscrow();
        (drawer,) = pick(entropy, anchor, anchor, operator, address(0), address(0));
        if (drawer == address(0)) return drawer;
        Verifier storage v = _verifiers[drawer];
        bytes32 head = v.head;
        // INVARIANT: a verifier reveals the one value that it fixed before it could know what it would draw.
        if (keccak256(abi.encode(preimage)) != head) revert WrongPreimage(head);
        v.head = preimage;
    }

    /// @inheritdoc INodeRegistry
    function pick(bytes32 entropy, uint256 anchor, uint256 there, address a, address b, address c)
        public
        view
        returns (address verifier, address operator)
    {
        uint256 below = type(uint256).max;
        while (true) {
            (verifier, below) = _highest(entropy, anchor, there, below);
            if (verifier == address(0)) return (address(0), address(0));
            operator = _verifiers[verifier].operator;
            if (operator != a && operator != b && operator != c) return (verifier, operator);
        }
    }

    /// @inheritdoc INodeRegistry
    function pickMany(bytes32 entropy, uint256 anchor, uint256 there, address a, address b, address c, uint256 most)
        external
        view
        returns (address[] memory drawn)
    {
        drawn = new address[](most);
        address[] memory owners = new address[](most);
        uint256 count = 0;
        uint256 below = type(uint256).max;
        while (count < most) {
            address verifier;
            (verifier, below) = _highest(entropy, anchor, there, below);
            if (verifier == address(0)) break;
            address operator = _verifiers[verifier].operator;
            if (operator == a || operator == b || operator == c || _isAmong(operator, owners, count)) continue;
            drawn[count] = verifier;
            owners[count] = operator;
            count += 1;
        }
        assembly ("memory-safe") {
            // Shortens the array to what was found.
            mstore(drawn, count)
        }
    }

    /// @inheritdoc INodeRegistry
    function verifiers() external view returns (address[] memory list) {
        list = new address[](_places.length);
        uint256 count = 0;
        for (uint256 i = 0; i < _places.length; i++) {
            Place memory p = _places[i];
            if (p.verifier == address(0) || p.until != THERE) continue;
            list[count] = p.verifier;
            count += 1;
        }
        assembly ("memory-safe") {
            mstore(list, count)
        }
    }

    /// @inheritdoc INodeRegistry
    function verifierCount() external view returns (uint256 count) {
        for (uint256 i = 0; i < _places.length; i++) {
            if (_places[i].verifier != address(0) && _places[i].until == THERE) count += 1;
        }
    }

    /// @dev The verifier of the highest rank below `below` among those that were there, and its rank.
    function _highest(bytes32 entropy, uint256 anchor, uint256 there, uint256 below)
        private
        view
        returns (address verifier, uint256 rank)
    {
        uint256 slot;
        assembly ("memory-safe") {
            mstore(0x00, _places.slot)
            slot := keccak256(0x00, 0x20)
        }
        for (uint256 end = slot + _places.length; slot < end; slot++) {
            uint256 place;
            assembly ("memory-safe") {
                // One read for verifier (160 bits) | since (48) | until (48); by name it would be four.
                place := sload(slot)
            }
            // A free place has left in block 0.
            if (uint48(place >> 160) > anchor || place >> 208 <= there) continue;
            uint256 its = uint256(Hashes.efficientKeccak256(entropy, bytes32(uint256(uint160(place)))));
            if (its < below && its >= rank) (verifier, rank) = (address(uint160(place)), its);
        }
    }

    function _isAmong(address operator, address[] memory owners, uint256 count) private pure returns (bool) {
        for (uint256 i = 0; i < count; i++) {
            if (owners[i] == operator) return true;
        }
        return false;
    }
}
