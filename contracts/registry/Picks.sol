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
    function pick(bytes32 entropy, uint256 anchor, uint256 there, address[] calldata operators)
        external
        view
        returns (address verifier, address operator)
    {
        uint256 below = type(uint256).max;
        while (true) {
            (verifier, below) = _highest(entropy, anchor, there, below);
            if (verifier == address(0)) return (address(0), address(0));
            operator = _verifiers[verifier].operator;
            if (!_isOneOf(operator, operators)) return (verifier, operator);
        }
    }

    /// @inheritdoc INodeRegistry
    function pickMany(bytes32 entropy, uint256 anchor, uint256 there, address[] calldata operators, uint256 most)
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
            if (_isOneOf(operator, operators) || _isAmong(operator, owners, count)) continue;
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
            if (p.verifier == address(0) || p.until != 0) continue;
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
            if (_places[i].verifier != address(0) && _places[i].until == 0) count += 1;
        }
    }

    /// @dev The verifier of the highest rank below `below` among those that were there, and its rank.
    function _highest(bytes32 entropy, uint256 anchor, uint256 there, uint256 below)
        private
        view
        returns (address verifier, uint256 rank)
    {
        uint256 count = _places.length;
        for (uint256 i = 0; i < count; i++) {
            Place memory p = _places[i];
            if (p.verifier == address(0) || p.since > anchor || (p.until != 0 && p.until <= there)) continue;
            uint256 its = uint256(Hashes.efficientKeccak256(entropy, bytes32(uint256(uint160(p.verifier)))));
            if (its < below && its >= rank) (verifier, rank) = (p.verifier, its);
        }
    }

    function _isOneOf(address operator, address[] calldata operators) private pure returns (bool) {
        for (uint256 i = 0; i < operators.length; i++) {
            if (operators[i] == operator) return true;
        }
        return false;
    }

    function _isAmong(address operator, address[] memory owners, uint256 count) private pure returns (bool) {
        for (uint256 i = 0; i < count; i++) {
            if (owners[i] == operator) return true;
        }
        return false;
    }
}
