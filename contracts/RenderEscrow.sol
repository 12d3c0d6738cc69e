// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {INodeRegistry} from "./INodeRegistry.sol";
import {IRenderEscrow} from "./IRenderEscrow.sol";
import {Commits} from "./escrow/Commits.sol";
import {Draws} from "./escrow/Draws.sol";
import {EscrowBase} from "./escrow/EscrowBase.sol";
import {Jobs} from "./escrow/Jobs.sol";
import {Settlement} from "./escrow/Settlement.sol";
import {Verdicts} from "./escrow/Verdicts.sol";

/// @title Money of render jobs, released only for batches that others checked
/// @notice {IRenderEscrow} says what it does; each part of it is in a file of its own under escrow/. Here is who may change
/// what: the authority, an AccessManager whose delay is the timelock, four things. Nobody changes anything else, and nobody
/// can take money, choose who gets it, or stop a settlement, a refund or a withdrawal.
contract RenderEscrow is Jobs, Commits, Draws, Verdicts, Settlement, AccessManaged {
    constructor(
        IERC20 token_,
        INodeRegistry registry_,
        address authority_,
        address coordinator_,
        address treasury_,
        uint16 feeBps_,
        Terms memory terms_
    ) EIP712("Tessera RenderEscrow", "2") EscrowBase(token_, registry_, terms_) AccessManaged(authority_) {
        // INVARIANT: somebody is the authority.
        if (authority_ == address(0)) revert ZeroAddress();
        _setCoordinator(coordinator_);
        _setTreasury(treasury_);
        _setFee(feeBps_);
    }

    /// @inheritdoc IRenderEscrow
    function setPaused(bool paused) external restricted {
        _config.paused = paused;
        emit PausedSet(paused);
    }

    /// @inheritdoc IRenderEscrow
    function setCoordinator(address coordinator) external restricted {
        _setCoordinator(coordinator);
    }

    /// @inheritdoc IRenderEscrow
    function setFee(uint16 feeBps) external restricted {
        _setFee(feeBps);
    }

    /// @inheritdoc IRenderEscrow
    function setTreasury(address treasury_) external restricted {
        _setTreasury(treasury_);
    }

    /// @inheritdoc IRenderEscrow
    function config() external view returns (Config memory) {
        return _config;
    }

    /// @inheritdoc IRenderEscrow
    function terms() external view returns (Terms memory) {
        return Terms({
            verdictWindow: _verdictWindow,
            disputeWindow: _disputeWindow,
            committeeWindow: _committeeWindow,
            expireWindow: _expireWindow,
            drawBlocks: _drawBlocks,
            missPenalty: _missPenalty,
            verifierPenalty: _verifierPenalty,
            disputeBond: _disputeBond,
            slashFactor: _slashFactor
        });
    }

    /// @inheritdoc IRenderEscrow
    function longestLife() external view returns (uint256) {
        return uint256(_expireWindow) + _disputeWindow + _committeeWindow;
    }

    function _setCoordinator(address coordinator) private {
        // INVARIANT: no role is held by the zero address.
        if (coordinator == address(0)) revert ZeroAddress();
        _config.coordinator = coordinator;
        emit CoordinatorSet(coordinator);
    }

    function _setFee(uint16 feeBps) private {
        // INVARIANT: no fee is above the cap.
        if (feeBps > MAX_FEE_BPS) revert FeeTooHigh(feeBps, MAX_FEE_BPS);
        _config.feeBps = feeBps;
        emit FeeSet(feeBps);
    }

    function _setTreasury(address treasury_) private {
        // INVARIANT: fees go to somebody.
        if (treasury_ == address(0)) revert ZeroAddress();
        treasury = treasury_;
        emit TreasurySet(treasury_);
    }
}
