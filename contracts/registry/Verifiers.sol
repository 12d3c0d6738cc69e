// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {INodeRegistry} from "../INodeRegistry.sol";
import {Stakes} from "./Stakes.sol";

/// @title Verifiers: who is in the list, and their secrets
abstract contract Verifiers is Stakes {
    using SafeCast for uint256;

    /// @notice Most places of the list, since a draw reads all of them.
    uint256 public constant MAX_VERIFIERS = 64;
    /// @notice Blocks for which the place of one that has left is kept: as long as any chain can still show the hash of a
    /// block (EIP-2935), so that whoever was to draw a batch can be told until it no longer matters.
    uint256 public constant LEAVE_BLOCKS = 8192;

    uint48 internal constant THERE = type(uint48).max;
    bytes32 private constant VERIFIER_TYPEHASH =
        keccak256("VerifierTerms(address verifier,address operator,bytes32 head,uint64 nonce)");

    /// @notice Bonded stake that each verifier of an operator needs. Without it, one stake could buy every draw.
    uint96 public immutable minVerifierStake;
    /// @notice Seconds from `joinVerifier` to `activateVerifier`.
    uint256 public immutable joinDelay;

    // slot 5
    mapping(address verifier => Verifier) internal _verifiers;
    // slot 6
    Place[] internal _places;

    /// @inheritdoc INodeRegistry
    function joinVerifier(VerifierTerms calldata terms, bytes calldata operatorSig) external {
        // INVARIANT: zero stands for nobody.
        if (terms.verifier == address(0)) revert ZeroAddress();
        // INVARIANT: a verifier has a chain of secrets.
        if (terms.head == bytes32(0)) revert ZeroHead();
        Verifier storage v = _verifiers[terms.verifier];
        // INVARIANT: a verifier belongs to one operator for ever, so that its past can always be answered for.
        if (v.operator != address(0) && v.operator != terms.operator) revert VerifierTaken(terms.verifier);
        // INVARIANT: the head is set once: a verifier cannot swap its secrets once it knows what they would draw.
        if (v.head != bytes32(0) && v.head != terms.head) revert WrongHead(v.head);
        if (v.place != 0) {
            // INVARIANT: a verifier has one place, and its last one is free before it gets another.
            if (!_isFree(_places[v.place - 1])) revert VerifierActive(terms.verifier);
            _release(v.place - 1);
        }
        _useNonce(terms.operator, terms.nonce);
        _check(
            terms.operator,
            keccak256(abi.encode(VERIFIER_TYPEHASH, terms.verifier, terms.operator, terms.head, terms.nonce)),
            operatorSig
        );
        _requireStake(_operators[terms.operator]);
        uint40 activeFrom = (block.timestamp + joinDelay).toUint40();
        v.operator = terms.operator;
        v.activeFrom = activeFrom;
        v.head = terms.head;
        emit VerifierJoined(terms.verifier, terms.operator, terms.head, activeFrom);
    }

    /// @inheritdoc INodeRegistry
    function activateVerifier(address verifier) external {
        Verifier storage v = _verifiers[verifier];
        // INVARIANT: only one that joined, and has not left since, is put into the list.
        if (v.activeFrom == 0) revert VerifierUnknown(verifier);
        // INVARIANT: a verifier has one place.
        if (v.place != 0) revert VerifierActive(verifier);
        // INVARIANT: who joins waits, so that nobody can answer a batch that it has seen with a crowd of verifiers.
        if (block.timestamp < v.activeFrom) revert VerifierNotYet(verifier, v.activeFrom);
        Operator storage o = _operators[v.operator];
        _requireStake(o);
        uint256 index = _takePlace();
        _places[index] = Place(verifier, block.number.toUint48(), THERE);
        v.place = uint32(index + 1);
        o.places += 1;
        o.active += 1;
        emit VerifierActivated(verifier);
    }

    /// @inheritdoc INodeRegistry
    function leaveVerifier(address verifier) external {
        Verifier storage v = _verifiers[verifier];
        // INVARIANT: only one that is in the list leaves it, once.
        if (!isActive(verifier)) revert VerifierUnknown(verifier);
        Operator storage o = _operators[v.operator];
        // INVARIANT: a verifier that is backed by stake is taken out by its operator alone.
        if (msg.sender != v.operator && o.stake >= uint256(minVerifierStake) * o.active) {
            revert NotOperator(msg.sender, v.operator);
        }
        _places[v.place - 1].until = block.number.toUint48();
        v.activeFrom = 0;
        o.active -= 1;
        emit VerifierLeft(verifier);
    }

    /// @inheritdoc INodeRegistry
    function isActive(address verifier) public view returns (bool) {
        uint256 place = _verifiers[verifier].place;
        return place != 0 && _places[place - 1].until == THERE;
    }

    /// @inheritdoc INodeRegistry
    function operatorOf(address verifier) external view returns (address) {
        return _verifiers[verifier].operator;
    }

    /// @inheritdoc INodeRegistry
    function verifierInfo(address verifier) external view returns (Verifier memory) {
        return _verifiers[verifier];
    }

    /// @inheritdoc INodeRegistry
    function headOf(address verifier) external view returns (bytes32) {
        return _verifiers[verifier].head;
    }

    /// @dev A place that nobody has (its `until` is 0), or whose last owner left so long ago that no draw can ask for it.
    function _isFree(Place storage p) private view returns (bool) {
        return block.number > uint256(p.until) + LEAVE_BLOCKS;
    }

    function _takePlace() private returns (uint256) {
        uint256 count = _places.length;
        for (uint256 i = 0; i < count; i++) {
            if (_isFree(_places[i])) {
                if (_places[i].verifier != address(0)) _release(i);
                return i;
            }
        }
        // INVARIANT: a draw can always afford to read the whole list.
        if (count == MAX_VERIFIERS) revert TooManyVerifiers(MAX_VERIFIERS);
        _places.push();
        return count;
    }

    function _release(uint256 index) private {
        Verifier storage last = _verifiers[_places[index].verifier];
        last.place = 0;
        _operators[last.operator].places -= 1;
        delete _places[index];
    }

    /// @dev Each place that an operator takes has a whole stake behind it, also those whose verifiers have left.
    function _requireStake(Operator storage o) private view {
        uint256 needed = uint256(minVerifierStake) * (uint256(o.places) + 1);
        // INVARIANT: what an operator can draw is in proportion to what it can lose.
        if (o.stake < needed) revert StakeTooSmall(o.stake, needed);
    }
}
