// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IRenderEscrow} from "../IRenderEscrow.sol";
import {EscrowBase} from "./EscrowBase.sol";

/// @title How a batch ends, and how money leaves
abstract contract Settlement is EscrowBase {
    using SafeERC20 for IERC20;

    /// @inheritdoc IRenderEscrow
    function settle(bytes32[] calldata batchKeys, Batch[] calldata batches) external nonReentrant {
        _requireSameLength(batchKeys.length, batches.length);
        for (uint256 i = 0; i < batchKeys.length; i++) {
            _settle(batchKeys[i], batches[i]);
        }
    }

    /// @inheritdoc IRenderEscrow
    function expire(bytes32 batchKey, Batch calldata batch) external {
        Batch memory b = _takeAny(batchKey, batch);
        // Only a batch that nobody judged expires; one that was judged settles by it.
        _requireState(batchKey, b, b.state <= uint8(BatchState.Second));
        uint256 until = uint256(b.committedAt) + _expireWindow;
        // INVARIANT: there is the whole window for a judgement; re-anchoring does not lengthen it.
        if (block.timestamp <= until) revert WindowOpen(until);
        Job storage j = _jobs[b.jobKey];
        _end(batchKey, j);
        _giveBack(j, b.amount);
        emit Expired(batchKey, b.amount);
    }

    /// @inheritdoc IRenderEscrow
    function withdraw() external nonReentrant {
        _withdraw(msg.sender);
    }

    /// @inheritdoc IRenderEscrow
    function withdrawFor(address owner) external nonReentrant {
        _withdraw(owner);
    }

    function _settle(bytes32 batchKey, Batch calldata batch) private {
        Batch memory b = _take(batchKey, batch, BatchState.Judged);
        if (!b.last) {
            uint256 until = uint256(b.since) + _disputeWindow;
            // INVARIANT: who disagrees has time to say so before the money moves.
            if (block.timestamp < until) revert WindowOpen(until);
        }
        Job storage j = _jobs[b.jobKey];
        // INVARIANT: money moves once: from here on the lane no longer holds this batch.
        _end(batchKey, j);
        if (b.outcome == PASS) {
            _pay(batchKey, b, j);
            return;
        }
        _giveBack(j, b.amount);
        uint96 slashed;
        if (b.outcome == FAIL && b.agreed) {
            uint256 due = uint256(b.amount) * _slashFactor;
            // INVARIANT: a batch costs no more than what stood behind it when it was committed.
            if (due > b.stake) due = b.stake;
            slashed = _punish(b.operator, due, batchKey, j.requester, b.disputer);
        }
        emit Settled(batchKey, b.outcome, 0, 0, slashed);
    }

    function _pay(bytes32 batchKey, Batch memory b, Job storage j) private {
        // Rounded down: what is left over is the operator's.
        uint96 fee = uint96(uint256(b.amount) * j.feeBps / 10_000);
        uint96 paid = b.amount - fee;
        j.released += b.amount;
        credit[b.operator] += paid;
        if (fee != 0) credit[treasury] += fee;
        emit Settled(batchKey, b.outcome, paid, fee, 0);
    }

    function _withdraw(address owner) private {
        uint256 amount = credit[owner];
        // INVARIANT: a withdrawal that moves nothing is a mistake of the caller.
        if (amount == 0) revert NothingToWithdraw(owner);
        credit[owner] = 0;
        emit Withdrawn(owner, amount);
        token.safeTransfer(owner, amount);
    }
}
