// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Funds} from "../Funds.sol";
import {IRenderEscrow} from "../IRenderEscrow.sol";
import {Permit} from "../Permit.sol";
import {EscrowBase} from "./EscrowBase.sol";

/// @title Jobs: opened with money, topped up, closed
abstract contract Jobs is EscrowBase {
    using SafeCast for uint256;

    bytes32 private constant OPEN_JOB_TYPEHASH =
        keccak256("OpenJob(address requester,bytes32 jobKey,uint96 budget,uint96 maxTaskPrice,uint40 deadline)");

    /// @inheritdoc IRenderEscrow
    function openJob(OpenJob calldata o, bytes calldata requesterSig, Permit calldata p) external nonReentrant {
        Config memory c = _config;
        _requireRunning(c);
        Job storage j = _jobs[o.jobKey];
        // INVARIANT: a jobKey is opened once, so an old signature can never pull money again.
        if (j.state != JobState.None) revert JobExists(o.jobKey);
        // INVARIANT: a job has money.
        if (o.budget == 0) revert BudgetZero();
        // INVARIANT: a job opens before its deadline, which thereby also ends the life of the signature.
        if (o.deadline <= block.timestamp) revert DeadlinePassed(o.deadline);
        _requireSigner(
            o.requester,
            keccak256(abi.encode(OPEN_JOB_TYPEHASH, o.requester, o.jobKey, o.budget, o.maxTaskPrice, o.deadline)),
            requesterSig
        );

        j.free = o.budget;
        j.maxTaskPrice = uint256(o.maxTaskPrice).toUint88();
        j.deadline = uint256(o.deadline).toUint32();
        j.feeBps = c.feeBps;
        j.state = JobState.Open;
        j.requester = o.requester;
        j.funded = o.budget;
        emit JobOpened(o.jobKey, o.requester, o.budget, o.maxTaskPrice, o.deadline, c.feeBps);
        Funds.pull(token, o.requester, o.budget, p);
    }

    /// @inheritdoc IRenderEscrow
    function addFunds(bytes32 jobKey, uint96 amount, Permit calldata p) external nonReentrant {
        _requireRunning(_config);
        Job storage j = _jobs[jobKey];
        _requireOpen(jobKey, j);
        // INVARIANT: money comes in only where it can still be spent.
        if (block.timestamp > j.deadline) revert DeadlinePassed(j.deadline);
        // INVARIANT: a deposit that moves nothing is a mistake of the caller.
        if (amount == 0) revert BudgetZero();
        j.free += amount;
        j.funded += amount;
        emit FundsAdded(jobKey, msg.sender, amount);
        Funds.pull(token, msg.sender, amount, p);
    }

    /// @inheritdoc IRenderEscrow
    function closeJob(bytes32 jobKey) external {
        Job storage j = _jobs[jobKey];
        _requireOpen(jobKey, j);
        if (msg.sender != j.requester && msg.sender != _config.coordinator) {
            // INVARIANT: a stranger cannot stop a job that still may run.
            if (block.timestamp <= j.deadline) revert DeadlineNotReached(j.deadline);
        }
        uint96 amount = j.free;
        j.free = 0;
        j.refunded += amount;
        j.state = JobState.Closed;
        credit[j.requester] += amount;
        emit JobClosed(jobKey, amount);
    }

    /// @inheritdoc IRenderEscrow
    function job(bytes32 jobKey) external view returns (Job memory) {
        return _jobs[jobKey];
    }
}
