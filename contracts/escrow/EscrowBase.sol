// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {INodeRegistry} from "../INodeRegistry.sol";
import {IRenderEscrow} from "../IRenderEscrow.sol";
import {Signatures} from "../Signatures.sol";

/// @title What all parts of the escrow share: its terms, its storage, and the steps that several of them take
abstract contract EscrowBase is IRenderEscrow, EIP712, ReentrancyGuardTransient {
    /// @notice Most receipts of a batch; the depth of its Merkle tree is 6.
    uint16 public constant MAX_BATCH_COUNT = 64;
    /// @notice No fee is ever higher: a tenth of what a batch is paid.
    uint16 public constant MAX_FEE_BPS = 1000;
    /// @notice Half of what is slashed goes here and is nobody's, so that nobody gains by slashing itself.
    address public constant BURN = 0x000000000000000000000000000000000000dEaD;
    /// @dev Of {IRenderEscrow.Batch}, encoded: 22 words.
    uint256 private constant BATCH_BYTES = 22 * 32;
    uint8 internal constant PASS = 1;
    uint8 internal constant FAIL = 2;
    uint8 internal constant INCONCLUSIVE = 3;

    /// @notice The one token everything is paid in.
    IERC20 public immutable token;
    /// @notice Whose nodes and verifiers these are, and what they can lose.
    INodeRegistry public immutable registry;

    // The terms: {IRenderEscrow.Terms} says what each is.
    uint40 internal immutable _verdictWindow;
    uint40 internal immutable _disputeWindow;
    uint40 internal immutable _committeeWindow;
    uint40 internal immutable _expireWindow;
    uint16 internal immutable _drawBlocks;
    uint96 internal immutable _missPenalty;
    uint96 internal immutable _verifierPenalty;
    uint96 internal immutable _disputeBond;
    uint16 internal immutable _slashFactor;

    // Slots 0 and 1 are EIP712's, for names too long for an immutable.
    // slot 2
    Config internal _config;
    // slot 3
    /// @inheritdoc IRenderEscrow
    address public treasury;
    // slot 4
    mapping(bytes32 jobKey => Job) internal _jobs;
    // slot 5: see {IRenderEscrow.lane}; the key is node and lane, that is batchKey >> 64
    mapping(uint256 nodeAndLane => bytes32) internal _lanes;
    // slot 6
    /// @inheritdoc IRenderEscrow
    /// @dev 256 bits, so that a sum of uint96 amounts can never refuse a settlement.
    mapping(address owner => uint256) public credit;
    // slot 7: the authority and its flag (AccessManaged)

    constructor(IERC20 token_, INodeRegistry registry_, Terms memory t) {
        // INVARIANT: there is a token, and a registry that answers for nodes and verifiers.
        if (address(token_) == address(0) || address(registry_) == address(0)) revert ZeroAddress();
        // INVARIANT: a silent drawer can be named by the hash of its block; a verifier has time to speak and another to be
        // asked before a batch expires; and a bond costs something.
        if (
            t.drawBlocks < 2 || t.drawBlocks >= 256 || t.verdictWindow == 0 || t.committeeWindow == 0
                || t.expireWindow <= t.verdictWindow || t.disputeBond == 0
        ) revert TermsOutOfRange();
        token = token_;
        registry = registry_;
        _verdictWindow = t.verdictWindow;
        _disputeWindow = t.disputeWindow;
        _committeeWindow = t.committeeWindow;
        _expireWindow = t.expireWindow;
        _drawBlocks = t.drawBlocks;
        _missPenalty = t.missPenalty;
        _verifierPenalty = t.verifierPenalty;
        _disputeBond = t.disputeBond;
        _slashFactor = t.slashFactor;
    }

    /// @dev The batch in memory, once it is certain that it is the one under way and that it is in this state.
    function _take(bytes32 batchKey, Batch calldata batch, BatchState expected) internal view returns (Batch memory b) {
        b = _takeAny(batchKey, batch);
        _requireState(batchKey, b, b.state == uint8(expected));
    }

    function _requireState(bytes32 batchKey, Batch memory b, bool fits) internal pure {
        // INVARIANT: a batch goes through its states in order.
        if (!fits) revert WrongBatchState(batchKey, BatchState(b.state));
    }

    function _takeAny(bytes32 batchKey, Batch calldata batch) internal view returns (Batch memory b) {
        uint256 size = BATCH_BYTES;
        assembly ("memory-safe") {
            // Unchecked, for half the code and gas: what hashes to the stored word is what this contract wrote.
            calldatacopy(b, batch, size)
        }
        // INVARIANT: what a caller says of a batch is what the contract last said of it; a batch that has ended has no word.
        if (_lanes[_laneOf(batchKey)] != _wordOf(batchKey, b)) revert WrongBatch(batchKey);
    }

    /// @dev Stores the batch in its new state, which begins now.
    function _put(bytes32 batchKey, Batch memory b, BatchState state) internal {
        b.state = uint8(state);
        b.since = uint40(block.timestamp);
        _lanes[_laneOf(batchKey)] = _wordOf(batchKey, b);
    }

    /// @dev Ends a batch: the lane keeps its generation, so that none up to it can come again.
    function _end(bytes32 batchKey, Job storage j) internal {
        _lanes[_laneOf(batchKey)] = bytes32(uint256(uint64(uint256(batchKey))));
        j.live -= 1;
    }

    function _laneOf(bytes32 batchKey) internal pure returns (uint256) {
        return uint256(batchKey) >> 64;
    }

    function _wordOf(bytes32 batchKey, Batch memory b) private pure returns (bytes32 word) {
        uint256 size = BATCH_BYTES;
        assembly ("memory-safe") {
            // keccak256(abi.encode(batchKey, b)): a struct without dynamic parts lies in memory as it is encoded.
            let free := mload(0x40)
            mstore(free, batchKey)
            mcopy(add(free, 0x20), b, size)
            word := keccak256(free, add(size, 0x20))
        }
    }

    /// @dev Reserved money that no node earned: free again, or the requester's when the job is closed.
    function _giveBack(Job storage j, uint96 amount) internal {
        if (j.state == JobState.Open) {
            j.free += amount;
        } else {
            j.refunded += amount;
            credit[j.requester] += amount;
        }
    }

    /// @dev Takes stake: half is burnt, rounded up, half is the requester's, of which half is a disputer's that was right.
    /// Less than asked where there is less, never a revert for want of stake.
    function _punish(address operator, uint256 amount, bytes32 batchKey, address requester, address disputer)
        internal
        returns (uint96 taken)
    {
        if (amount == 0 || operator == address(0)) return 0;
        uint96 capped = amount > type(uint96).max ? type(uint96).max : uint96(amount);
        uint256 before = token.balanceOf(address(this));
        taken = registry.slash(operator, capped, batchKey);
        uint256 received = token.balanceOf(address(this)) - before;
        // INVARIANT: what is shared out is what arrived.
        uint256 shared = received < taken ? received : taken;
        uint256 half = shared / 2;
        credit[BURN] += shared - half;
        uint256 toDisputer = disputer == address(0) ? 0 : half / 2;
        credit[requester] += half - toDisputer;
        if (toDisputer != 0) credit[disputer] += toDisputer;
    }

    function _requireSigner(address expected, bytes32 structHash, bytes calldata signature) internal view {
        Signatures.check(expected, _hashTypedDataV4(structHash), signature);
    }

    function _requireOpen(bytes32 jobKey, Job storage j) internal view {
        // INVARIANT: a job that was never opened or is closed promises and returns nothing more.
        if (j.state != JobState.Open) revert JobNotOpen(jobKey, j.state);
    }

    function _requireRunning(Config memory c) internal pure {
        // INVARIANT: while paused, no new money comes in and none is promised; everything else goes on.
        if (c.paused) revert Paused();
    }

    function _requireSameLength(uint256 one, uint256 other) internal pure {
        // INVARIANT: every entry comes with its counterpart.
        if (one != other) revert LengthMismatch(one, other);
    }

    function _requireOutcome(uint8 outcome) internal pure {
        // INVARIANT: an outcome has a meaning.
        if (outcome < PASS || outcome > INCONCLUSIVE) revert UnknownOutcome(outcome);
    }

    /// @dev Of those that were in the list at the batch's anchor, one that is not of its operator or of `one` or `two`.
    function _pick(bytes32 entropy, Batch memory b, uint256 there, address one, address two)
        internal
        view
        returns (address verifier, address operator)
    {
        return registry.pick(entropy, b.anchor, there, b.operator, one, two);
    }

    /// @dev Zero of zero.
    function _operatorOf(address verifier) internal view returns (address) {
        return registry.operatorOf(verifier);
    }
}
