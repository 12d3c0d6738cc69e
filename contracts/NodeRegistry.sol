// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {INodeRegistry} from "./INodeRegistry.sol";
import {Nodes} from "./registry/Nodes.sol";
import {Picks} from "./registry/Picks.sol";

/// @dev What the registry asks of an escrow before it lets it slash.
interface IServedEscrow {
    function token() external view returns (IERC20);
    function registry() external view returns (INodeRegistry);
    function longestLife() external view returns (uint256);
}

/// @title Operators with their stake, node keys and verifiers
/// @notice Nobody can change anything about it once its escrow is set; there is no owner.
contract NodeRegistry is Nodes, Picks {
    address private immutable _deployer = msg.sender;

    constructor(IERC20 token_, uint96 minVerifierStake_, uint256 joinDelay_, uint256 thawTime_)
        EIP712("Tessera NodeRegistry", "1")
    {
        // INVARIANT: there is a token.
        if (address(token_) == address(0)) revert ZeroAddress();
        // INVARIANT: a place in the list costs something, or one account could take all of them.
        if (minVerifierStake_ == 0) revert ZeroAmount();
        token = token_;
        minVerifierStake = minVerifierStake_;
        joinDelay = joinDelay_;
        thawTime = thawTime_;
    }

    /// @inheritdoc INodeRegistry
    function setEscrow(address escrow_) external {
        // INVARIANT: only whoever made the contract completes it.
        if (msg.sender != _deployer) revert NotOperator(msg.sender, _deployer);
        // INVARIANT: who may slash is set once and never changes.
        if (escrow != address(0)) revert EscrowTaken(escrow);
        IServedEscrow served = IServedEscrow(escrow_);
        // INVARIANT: the two speak of the same token and of each other.
        if (address(served.token()) != address(token) || address(served.registry()) != address(this)) revert WrongEscrow(escrow_);
        uint256 longest = served.longestLife();
        // INVARIANT: nobody's stake is out before a batch that it answers for is settled.
        if (thawTime <= longest) revert ThawTimeTooShort(thawTime, longest);
        escrow = escrow_;
        emit EscrowSet(escrow_);
    }
}
