// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IRenderEscrow} from "../IRenderEscrow.sol";
import {Committees} from "./Committees.sol";

/// @title Verdicts of the first and the second verifier
abstract contract Verdicts is Committees {
    /// @dev Keeps the draws of a verifier in place of a silent one apart from those after a verdict.
    uint256 private constant REPLACED = 1000;

    /// @inheritdoc IRenderEscrow
    function attest(bytes32 batchKey, Batch calldata batch, Word calldata word) external {
        _attest(batchKey, batch, word);
    }

    /// @inheritdoc IRenderEscrow
    function attestMany(bytes32[] calldata batchKeys, Batch[] calldata batches, Word[] calldata words) external {
        _requireSameLength(batchKeys.length, batches.length);
        _requireSameLength(batchKeys.length, words.length);
        for (uint256 i = 0; i < batchKeys.length; i++) {
            _attest(batchKeys[i], batches[i], words[i]);
        }
    }

    /// @inheritdoc IRenderEscrow
    function replace(bytes32 batchKey, Batch calldata batch) external nonReentrant {
        Batch memory b = _takeAny(batchKey, batch);
        bool second = b.state == uint8(BatchState.Second);
        _requireState(batchKey, b, second || b.state == uint8(BatchState.Drawn));
        address silent = second ? b.second : b.verifier;
        uint256 until = uint256(b.since) + _verdictWindow;
        bool late = block.timestamp > until;
        // INVARIANT: whoever is asked has the whole window, unless it went away.
        if (!late && registry.isActive(silent)) revert WindowOpen(until);
        address itsOperator = _operatorOf(silent);
        // Saturates: a word that is asked for anew with the same entropy is no harm, a batch that is stuck is.
        if (b.turns != type(uint8).max) b.turns += 1;
        address next = _pickAt(b, REPLACED + b.turns, itsOperator, second ? _operatorOf(b.verifier) : address(0));
        // INVARIANT: somebody is asked; where nobody else is there, the batch expires.
        if (next == address(0)) revert NoVerifierLeft(batchKey);
        if (second) b.second = next;
        else b.verifier = next;
        _put(batchKey, b, BatchState(b.state));
        emit Replaced(batchKey, silent, next, b.turns, b.since);
        if (late) _punish(itsOperator, _missPenalty, batchKey, _jobs[b.jobKey].requester, address(0));
    }

    function _attest(bytes32 batchKey, Batch calldata batch, Word calldata word) private {
        Batch memory b = _takeAny(batchKey, batch);
        _requireOutcome(word.outcome);
        if (b.state == uint8(BatchState.Drawn)) {
            _requireVerdict(b.verifier, batchKey, b.seed, word.outcome, word.evidence, word.signature);
            _first(batchKey, b, word.outcome, word.evidence);
        } else {
            _requireState(batchKey, b, b.state == uint8(BatchState.Second));
            _requireVerdict(b.second, batchKey, b.seed, word.outcome, word.evidence, word.signature);
            _second(batchKey, b, word.outcome, word.evidence);
        }
    }

    function _first(bytes32 batchKey, Batch memory b, uint8 outcome, bytes32 evidence) private {
        b.firstOutcome = outcome;
        address next;
        if (outcome != PASS) next = _pickAt(b, 1 + b.turns, _operatorOf(b.verifier), address(0));
        emit Attested(batchKey, b.verifier, outcome, evidence, next, uint40(block.timestamp));
        if (next == address(0)) {
            // A pass, or one that nobody else can confirm and that therefore slashes nobody.
            _judge(batchKey, b, outcome, false, false);
        } else {
            b.second = next;
            _put(batchKey, b, BatchState.Second);
        }
    }

    function _second(bytes32 batchKey, Batch memory b, uint8 outcome, bytes32 evidence) private {
        b.secondOutcome = outcome;
        emit Attested(batchKey, b.second, outcome, evidence, address(0), uint40(block.timestamp));
        if (b.firstOutcome == FAIL && outcome == PASS) {
            // INVARIANT: where two contradict each other, neither wins by itself.
            if (_callCommittee(batchKey, b, address(0), 0) < SMALLEST_COMMITTEE) {
                _judge(batchKey, b, INCONCLUSIVE, false, false);
            }
        } else if (b.firstOutcome == FAIL) {
            // INVARIANT: only a fail that two operators' verifiers found slashes.
            _judge(batchKey, b, FAIL, outcome == FAIL, false);
        } else {
            _judge(batchKey, b, outcome, false, false);
        }
    }

    function _pickAt(Batch memory b, uint256 turn, address one, address two) private view returns (address verifier) {
        (verifier,) = _pick(keccak256(abi.encode(b.seed, turn)), b, block.number, one, two);
    }
}
