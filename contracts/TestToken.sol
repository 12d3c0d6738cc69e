// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title Play money for the embedded chain
/// @notice Behaves like USDC where the farm touches it: 6 decimals and ERC-2612 permits.
contract TestToken is ERC20, ERC20Permit, Ownable {
    constructor(address owner) ERC20("Tessera Test Token", "TESS") ERC20Permit("Tessera Test Token") Ownable(owner) {}

    /// @notice Six decimals, so that amounts look as they would in USDC.
    function decimals() public pure override returns (uint8) {
        return 6;
    }

    /// @notice Makes money out of nothing. Only the owner, and only a chain without value should have this token.
    function mint(address to, uint256 amount) external onlyOwner {
        _mint(to, amount);
    }
}
