// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IRenderEscrow} from "../IRenderEscrow.sol";
import {EscrowBase} from "./EscrowBase.sol";

/// @title Commits: a node binds itself to results, and their price is set aside
abstract contract Commits is EscrowBase {
    bytes32 private constant COMMIT_TYPEHASH =
        keccak256("Commit(bytes32 jobKey,bytes32 batchKey,bytes32 root,uint16 count,uint96 amount)");

    /// @inheritdoc IRenderEscrow
    function commit(Commit calldata c, bytes calldata nodeSig) external {
        _requireCommitting();
        _commit(c, nodeSig);
    }

    /// @inheritdoc IRenderEscrow
    function commitMany(Commit[] calldata commits, bytes[] calldata nodeSigs) external {
        _requireCommitting();
        _requireSameLength(commits.length, nodeSigs.length);
        for (uint256 i = 0; i < commits.length; i++) {
            _commit(commits[i], nodeSigs[i]);
        }
    }

    /// @inheritdoc IRenderEscrow
    function lane(bytes32 batchKey) external view returns (bytes32) {
        return _lanes[_laneOf(batchKey)];
    }

    function _commit(Commit calldata c, bytes calldata nodeSig) private {
        uint64 generation = uint64(uint256(c.batchKey));
        uint256 word = uint256(_lanes[_laneOf(c.batchKey)]);
        // INVARIANT: a lane has one batch at a time and a generation once, so a node cannot commit again until the draw suits
        // it, and an old signature is worthless. The word of a live batch is a hash, above every generation.
        if (word >= generation) {
            revert LaneTaken(c.batchKey, word > type(uint64).max ? type(uint64).max : uint64(word));
        }
        address node = address(bytes20(c.batchKey));
        _requireSigner(
            node, keccak256(abi.encode(COMMIT_TYPEHASH, c.jobKey, c.batchKey, c.root, c.count, c.amount)), nodeSig
        );
        _reserve(c);
        Batch memory b;
        (b.operator, b.stake) = registry.standing(node);
        // INVARIANT: somebody answers for the node.
        if (b.operator == address(0)) revert NodeNotRegistered(node);
        b.jobKey = c.jobKey;
        b.root = c.root;
        b.amount = c.amount;
        b.count = c.count;
        b.anchor = uint64(block.number);
        b.committedAt = uint40(block.timestamp);
        _put(c.batchKey, b, BatchState.Committed);
        _announce(c.batchKey, b);
    }

    function _reserve(Commit calldata c) private {
        Job storage j = _jobs[c.jobKey];
        _requireOpen(c.jobKey, j);
        // INVARIANT: after the deadline no money is promised any more.
        if (block.timestamp > j.deadline) revert DeadlinePassed(j.deadline);
        // INVARIANT: a batch has receipts, and not more than one draw can speak for.
        if (c.count == 0 || c.count > MAX_BATCH_COUNT) revert CountOutOfRange(c.count);
        uint256 highest = uint256(c.count) * j.maxTaskPrice;
        // INVARIANT: no task costs more than the requester signed.
        if (c.amount > highest) revert AboveMaxTaskPrice(c.amount, highest);
        uint96 free = j.free;
        // INVARIANT: nothing is promised twice.
        if (c.amount > free) revert AboveFreeMoney(c.amount, free);
        j.free = free - c.amount;
        j.live += 1;
    }

    function _announce(bytes32 batchKey, Batch memory b) private {
        emit Committed(
            batchKey, b.jobKey, b.operator, b.root, b.count, b.amount, b.stake, b.anchor, b.committedAt
        );
    }

    function _requireCommitting() private view {
        Config memory c = _config;
        _requireRunning(c);
        // INVARIANT: only the coordinator, who leased the tasks, brings commits.
        if (msg.sender != c.coordinator) revert NotCoordinator(msg.sender);
    }
}
