// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Blockhash} from "@openzeppelin/contracts/utils/Blockhash.sol";
import {IRenderEscrow} from "../IRenderEscrow.sol";
import {EscrowBase} from "./EscrowBase.sol";

/// @title Draws: what is checked of a batch, and by whom
abstract contract Draws is EscrowBase {
    /// @inheritdoc IRenderEscrow
    function draw(bytes32 batchKey, Batch calldata batch, bytes32 preimage) external {
        _draw(batchKey, batch, preimage);
    }

    /// @inheritdoc IRenderEscrow
    function drawMany(bytes32[] calldata batchKeys, Batch[] calldata batches, bytes32[] calldata preimages) external {
        _requireSameLength(batchKeys.length, batches.length);
        _requireSameLength(batchKeys.length, preimages.length);
        for (uint256 i = 0; i < batchKeys.length; i++) {
            _draw(batchKeys[i], batches[i], preimages[i]);
        }
    }

    /// @inheritdoc IRenderEscrow
    function reanchor(bytes32 batchKey, Batch calldata batch) external nonReentrant {
        Batch memory b = _take(batchKey, batch, BatchState.Committed);
        uint256 until = uint256(b.anchor) + _drawBlocks;
        // INVARIANT: the drawer has its time, and nobody can ask for another draw before it is over.
        if (block.number <= until) revert DrawWindowOpen(until);
        bytes32 blockHash = Blockhash.blockHash(uint256(b.anchor) + 1);
        address missedBy;
        address itsOperator;
        if (blockHash != bytes32(0)) (missedBy, itsOperator) = _pickDrawer(batchKey, b, blockHash);
        b.anchor = uint64(block.number);
        _put(batchKey, b, BatchState.Committed);
        emit Reanchored(batchKey, b.anchor, b.since, missedBy);
        if (missedBy != address(0)) {
            _punish(itsOperator, _missPenalty, batchKey, _jobs[b.jobKey].requester, address(0));
        }
    }

    /// @inheritdoc IRenderEscrow
    function drawerOf(bytes32 batchKey, Batch calldata batch) external view returns (address drawer) {
        Batch memory b = _take(batchKey, batch, BatchState.Committed);
        if (block.number <= uint256(b.anchor) + 1) return address(0);
        bytes32 blockHash = Blockhash.blockHash(uint256(b.anchor) + 1);
        if (blockHash == bytes32(0)) return address(0);
        (drawer,) = _pickDrawer(batchKey, b, blockHash);
    }

    function _draw(bytes32 batchKey, Batch calldata batch, bytes32 preimage) private {
        Batch memory b = _take(batchKey, batch, BatchState.Committed);
        uint256 deciding = uint256(b.anchor) + 1;
        // INVARIANT: the seed hangs on a block that did not exist when the root was committed.
        if (block.number <= deciding) revert DrawTooEarly(block.number, deciding + 1);
        bytes32 blockHash = Blockhash.blockHash(deciding);
        // INVARIANT: there is no draw without the block's hash; `reanchor` is the way on.
        if (blockHash == bytes32(0)) revert BlockHashGone(batchKey);
        address drawer = registry.useSecret(_entropyOf(batchKey, blockHash), b.anchor, b.operator, preimage);
        // INVARIANT: somebody's secret goes into every seed.
        if (drawer == address(0)) revert NoVerifierLeft(batchKey);
        // INVARIANT: a secret that was shown for one batch is not used by a stranger for another.
        if (msg.sender != drawer && msg.sender != _config.coordinator) revert NotDrawer(msg.sender, drawer);
        bytes32 seed = keccak256(abi.encode(preimage, blockHash, b.root));
        (address verifier,) =
            _pick(keccak256(abi.encode(seed, uint256(0))), b, block.number, address(0), address(0));
        // INVARIANT: a batch is checked by somebody else than its operator.
        if (verifier == address(0)) revert NoVerifierLeft(batchKey);
        b.seed = seed;
        b.verifier = verifier;
        _put(batchKey, b, BatchState.Drawn);
        emit Drawn(batchKey, preimage, blockHash, seed, verifier, b.since);
    }

    /// @dev From the list as it was at the anchor, those included that have left since: that cannot be changed any more.
    function _pickDrawer(bytes32 batchKey, Batch memory b, bytes32 blockHash)
        private
        view
        returns (address drawer, address operator)
    {
        return _pick(_entropyOf(batchKey, blockHash), b, b.anchor, address(0), address(0));
    }

    /// @dev What nobody knew when the batch was committed, and for no other batch.
    function _entropyOf(bytes32 batchKey, bytes32 blockHash) private pure returns (bytes32) {
        return keccak256(abi.encode(blockHash, batchKey));
    }
}
