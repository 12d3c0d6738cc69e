// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Funds} from "../Funds.sol";
import {INodeRegistry} from "../INodeRegistry.sol";
import {Permit} from "../Permit.sol";
import {Signatures} from "../Signatures.sol";

/// @title Stake: put down, thawing, taken out, taken away
/// @notice The contract holds exactly what its operators have bonded and what is thawing.
abstract contract Stakes is INodeRegistry, EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    bytes32 private constant STAKE_TYPEHASH = keccak256("StakeTerms(address operator,uint96 amount,uint64 nonce)");

    /// @notice The one token that stake is in.
    IERC20 public immutable token;
    /// @notice Seconds from `thaw` to `unstake`: longer than a batch can take from its commit to its settlement.
    uint256 public immutable thawTime;

    // Slots 0 and 1 are EIP712's, for names too long for an immutable.
    // slot 2
    mapping(address operator => Operator) internal _operators;
    // slot 3
    /// @notice The one who may slash; zero until it is set, which happens once.
    address public escrow;

    /// @inheritdoc INodeRegistry
    function stake(uint96 amount, Permit calldata permit) external nonReentrant {
        _stake(msg.sender, amount, permit);
    }

    /// @inheritdoc INodeRegistry
    function stakeFor(StakeTerms calldata terms, bytes calldata operatorSig, Permit calldata permit)
        external
        nonReentrant
    {
        _useNonce(terms.operator, terms.nonce);
        _check(
            terms.operator, keccak256(abi.encode(STAKE_TYPEHASH, terms.operator, terms.amount, terms.nonce)), operatorSig
        );
        _stake(terms.operator, terms.amount, permit);
    }

    /// @inheritdoc INodeRegistry
    function thaw(uint96 amount) external {
        // INVARIANT: the clock of what is thawing starts anew only when more of it thaws.
        if (amount == 0) revert ZeroAmount();
        Operator storage o = _operators[msg.sender];
        // INVARIANT: nobody takes out more than it put down.
        if (amount > o.stake) revert StakeTooSmall(o.stake, amount);
        o.stake -= amount;
        o.thawing += amount;
        o.thawsAt = uint40(block.timestamp + thawTime);
        emit Thawing(msg.sender, amount, o.thawsAt);
    }

    /// @inheritdoc INodeRegistry
    function unstake(address operator) external nonReentrant {
        Operator storage o = _operators[operator];
        uint96 amount = o.thawing;
        // INVARIANT: a payment that moves nothing is a mistake of the caller.
        if (amount == 0) revert ZeroAmount();
        // INVARIANT: stake stays slashable until every batch that it answers for can have been settled.
        if (block.timestamp < o.thawsAt) revert StillThawing(o.thawsAt);
        o.thawing = 0;
        emit Unstaked(operator, amount);
        token.safeTransfer(operator, amount);
    }

    /// @inheritdoc INodeRegistry
    function slash(address operator, uint96 amount, bytes32 batchKey) external nonReentrant returns (uint96 taken) {
        _requireEscrow();
        Operator storage o = _operators[operator];
        uint96 fromStake = amount < o.stake ? amount : o.stake;
        uint96 rest = amount - fromStake;
        uint96 fromThawing = rest < o.thawing ? rest : o.thawing;
        taken = fromStake + fromThawing;
        if (taken == 0) return 0;
        o.stake -= fromStake;
        o.thawing -= fromThawing;
        emit Slashed(operator, taken, batchKey);
        token.safeTransfer(escrow, taken);
    }

    /// @inheritdoc INodeRegistry
    function nonces(address operator) external view returns (uint64) {
        return _operators[operator].nonce;
    }

    /// @inheritdoc INodeRegistry
    function operatorInfo(address operator) external view returns (Operator memory) {
        return _operators[operator];
    }

    function _stake(address operator, uint96 amount, Permit calldata permit) private {
        // INVARIANT: a deposit that moves nothing is a mistake of the caller.
        if (amount == 0) revert ZeroAmount();
        // Only the bonded part grows: what is thawing keeps its clock.
        _operators[operator].stake += amount;
        emit Staked(operator, amount);
        Funds.pull(token, operator, amount, permit);
    }

    function _useNonce(address operator, uint64 nonce) internal {
        uint64 expected = _operators[operator].nonce;
        // INVARIANT: a signature counts once, and in the order in which its owner gave them.
        if (nonce != expected) revert WrongNonce(expected, nonce);
        _operators[operator].nonce = expected + 1;
    }

    function _check(address signer, bytes32 structHash, bytes calldata signature) internal view {
        Signatures.check(signer, _hashTypedDataV4(structHash), signature);
    }

    function _requireEscrow() internal view {
        // INVARIANT: only the escrow's rules take stake or use up secrets.
        if (msg.sender != escrow) revert NotEscrow(msg.sender);
    }
}
