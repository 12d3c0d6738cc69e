// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Permit} from "./Permit.sol";

/// @title How both contracts take money in
library Funds {
    using SafeERC20 for IERC20;

    error WrongAmountReceived(uint256 expected, uint256 received);

    /// @notice Pulls exactly `amount` from `from`. A permit that fails is ignored: somebody may have used it already, and
    /// then the allowance is there; where it is not, the transfer fails.
    function pull(IERC20 token, address from, uint256 amount, Permit calldata p) internal {
        if (p.deadline != 0) {
            try IERC20Permit(address(token)).permit(from, address(this), p.value, p.deadline, p.v, p.r, p.s) {} catch {}
        }
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(from, address(this), amount);
        uint256 received = token.balanceOf(address(this)) - before;
        // INVARIANT: what is booked is what arrived, so a token that takes a fee is refused.
        if (received != amount) revert WrongAmountReceived(amount, received);
    }
}
