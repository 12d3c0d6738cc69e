// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IFirstEscrow} from "./IFirstEscrow.sol";

/// @title Money that moves only after a drawn piece was rendered again
/// @notice A requester funds a job; a node commits to a batch of results; a seed that nobody could choose draws what
/// is checked; a verifier signs what came of it; a pass credits the node, anything else gives the money back.
/// @dev One token, one coordinator, one verifier, no stake and no slashing. Solvency, after every call:
/// token.balanceOf(this) >= sum over jobs of (free + reserved) + sum of credits. The token must be a plain ERC-20
/// (no fee on transfer, no rebasing).
contract FirstEscrow is IFirstEscrow, EIP712, ReentrancyGuard {
    using SafeERC20 for IERC20;

    /// @notice Time for a verdict after a commit. Long enough that a verifier that breaks over a long weekend can be
    /// repaired before nodes lose their pay, short enough that a requester's money is not held much longer than a job.
    uint256 public constant VERDICT_WINDOW = 7 days;
    /// @notice Most receipts of a batch; the depth of its Merkle tree is 6.
    uint16 public constant MAX_BATCH_COUNT = 64;

    uint8 private constant PASS = 1;
    uint8 private constant INCONCLUSIVE = 3;

    bytes32 private constant OPEN_JOB_TYPEHASH =
        keccak256("OpenJob(address requester,bytes32 jobKey,uint96 budget,uint96 maxTaskPrice,uint40 deadline)");
    bytes32 private constant COMMIT_TYPEHASH = keccak256(
        "Commit(bytes32 jobKey,bytes32 batchKey,address node,bytes32 root,uint16 count,uint96 amount)"
    );
    bytes32 private constant VERDICT_TYPEHASH = keccak256("Verdict(bytes32 batchKey,uint8 outcome,bytes32 evidence)");

    /// @notice The one token everything is paid in.
    IERC20 public immutable token;
    /// @notice Relays commits, and may close any job. It can neither take money nor choose who gets it.
    address public immutable coordinator;
    /// @notice Signs verdicts.
    address public immutable verifier;

    // EIP712 takes slots 0 and 1 for names too long for an immutable; ReentrancyGuard has its own place (ERC-7201).
    // slot 2
    /// @notice Head of the verifier's secret hash chain: the next draw has to bring its preimage.
    bytes32 public verifierHead;
    // slot 3
    mapping(bytes32 jobKey => Job) private _jobs;
    // slot 4
    mapping(bytes32 batchKey => Batch) private _batches;
    // slot 5
    /// @notice What an account can withdraw. 256 bits, so that a sum of uint96 amounts can never refuse a settlement.
    mapping(address owner => uint256) public credit;

    constructor(IERC20 token_, address coordinator_, address verifier_, bytes32 verifierHead_)
        EIP712("Tessera RenderEscrow", "1")
    {
        // INVARIANT: no role is held by the zero address, which a failed signature recovery could be taken for.
        if (address(token_) == address(0) || coordinator_ == address(0) || verifier_ == address(0)) revert ZeroAddress();
        // INVARIANT: the chain of secrets has a head, or no batch could ever be drawn.
        if (verifierHead_ == bytes32(0)) revert ZeroHead();
        token = token_;
        coordinator = coordinator_;
        verifier = verifier_;
        verifierHead = verifierHead_;
    }

    /// @notice Opens a job with the requester's money, on terms the requester signed. Anyone may relay it.
    /// @dev Whoever relays first takes the jobKey: a relayer has to compare the terms of `job(jobKey)` with its own.
    /// @param o the terms
    /// @param requesterSig the requester's EIP-712 signature over them
    /// @param p a permit for the money; a permit that fails is ignored, since somebody may have used it already
    function openJob(OpenJob calldata o, bytes calldata requesterSig, Permit calldata p) external nonReentrant {
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

        j.requester = o.requester;
        j.funded = o.budget;
        j.free = o.budget;
        j.deadline = o.deadline;
        j.state = JobState.Open;
        j.maxTaskPrice = o.maxTaskPrice;
        emit JobOpened(o.jobKey, o.requester, o.budget, o.maxTaskPrice, o.deadline);

        if (p.deadline != 0) {
            try IERC20Permit(address(token)).permit(o.requester, address(this), p.value, p.deadline, p.v, p.r, p.s) {}
            catch {}
        }
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(o.requester, address(this), o.budget);
        uint256 received = token.balanceOf(address(this)) - before;
        // INVARIANT: what is booked is what arrived.
        if (received != o.budget) revert WrongAmountReceived(o.budget, received);
    }

    /// @notice Binds a node to the results of a batch and reserves its price.
    /// @dev Only through the coordinator: a node is just a key here, so otherwise any stranger could make one, sign for
    /// any job and lock its money for the whole verdict window, or take a batchKey before its owner does.
    function commit(Commit calldata c, bytes calldata nodeSig) external {
        _requireCoordinator();
        _commit(c, nodeSig);
    }

    /// @notice Many commits in one transaction, all or none.
    function commitMany(Commit[] calldata commits, bytes[] calldata nodeSigs) external {
        _requireCoordinator();
        // INVARIANT: every commit comes with its signature.
        if (commits.length != nodeSigs.length) revert LengthMismatch(commits.length, nodeSigs.length);
        for (uint256 i = 0; i < commits.length; i++) {
            _commit(commits[i], nodeSigs[i]);
        }
    }

    /// @notice Draws the seed of a batch from the verifier's next secret, a later block's hash and the batch's root.
    /// Anyone may send it; the secret is secret until its owner reveals it.
    /// @dev When the block's hash is gone (256 blocks) the batch is anchored anew and the secret is not used up.
    function draw(bytes32 batchKey, bytes32 preimage) external {
        Batch storage b = _batches[batchKey];
        _requireState(batchKey, b, BatchState.Committed);
        // INVARIANT: the verifier reveals the one value it committed to before anybody committed to results.
        if (keccak256(abi.encode(preimage)) != verifierHead) revert WrongPreimage(verifierHead);
        bytes32 blockHash = _anchorHash(b);
        if (blockHash == bytes32(0)) {
            _reanchor(batchKey, b);
            return;
        }
        bytes32 seed = keccak256(abi.encode(preimage, blockHash, b.root));
        verifierHead = preimage;
        b.seed = seed;
        b.state = BatchState.Drawn;
        emit Drawn(batchKey, preimage, blockHash, seed);
    }

    /// @notice Anchors a batch anew whose block hash is gone, without showing a secret. Anyone may.
    function reanchor(bytes32 batchKey) external {
        Batch storage b = _batches[batchKey];
        _requireState(batchKey, b, BatchState.Committed);
        // INVARIANT: as long as a batch can be drawn, nobody can ask for another draw.
        if (_anchorHash(b) != bytes32(0)) revert BlockHashStillThere(batchKey);
        _reanchor(batchKey, b);
    }

    /// @notice Books the verifier's signed verdict on a drawn batch. Anyone may relay it.
    function attest(Verdict calldata v, bytes calldata verifierSig) external {
        Batch storage b = _batches[v.batchKey];
        // INVARIANT: a verdict comes after the draw, once.
        _requireState(v.batchKey, b, BatchState.Drawn);
        // INVARIANT: an outcome has a meaning.
        if (v.outcome < PASS || v.outcome > INCONCLUSIVE) revert UnknownOutcome(v.outcome);
        _requireSigner(
            verifier, keccak256(abi.encode(VERDICT_TYPEHASH, v.batchKey, v.outcome, v.evidence)), verifierSig
        );
        b.outcome = v.outcome;
        b.evidence = v.evidence;
        b.state = BatchState.Attested;
        emit Attested(v.batchKey, v.outcome, v.evidence);
    }

    /// @notice Moves the money of attested batches, all or none. Anyone may.
    function settle(bytes32[] calldata batchKeys) external {
        for (uint256 i = 0; i < batchKeys.length; i++) {
            _settle(batchKeys[i]);
        }
    }

    /// @notice Gives the money of a batch back that got no verdict in time. Anyone may.
    function expire(bytes32 batchKey) external {
        Batch storage b = _batches[batchKey];
        // INVARIANT: only a batch without a verdict expires; one with a verdict settles by it.
        if (b.state != BatchState.Committed) _requireState(batchKey, b, BatchState.Drawn);
        uint256 until = uint256(b.committedAt) + VERDICT_WINDOW;
        // INVARIANT: the verifier has the whole window; re-anchoring does not lengthen it.
        if (block.timestamp <= until) revert VerdictWindowOpen(until);
        b.state = BatchState.Expired;
        _giveBack(_jobs[b.jobKey], b.amount);
        emit Expired(batchKey, b.amount);
    }

    /// @notice Ends a job: what is not reserved goes back to the requester; batches under way still settle.
    /// The coordinator and the requester may at any time, anyone after the deadline.
    function closeJob(bytes32 jobKey) external {
        Job storage j = _jobs[jobKey];
        _requireOpen(jobKey, j);
        if (msg.sender != coordinator && msg.sender != j.requester) {
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

    /// @notice Pays the sender its credit.
    function withdraw() external {
        _withdraw(msg.sender);
    }

    /// @notice Pays `owner` its credit, so that somebody else can pay the gas. It never goes anywhere else.
    function withdrawFor(address owner) external {
        _withdraw(owner);
    }

    /// @notice A job as it stands; state None when there is none.
    function job(bytes32 jobKey) external view returns (Job memory) {
        return _jobs[jobKey];
    }

    /// @notice A batch as it stands; state None when there is none.
    function batch(bytes32 batchKey) external view returns (Batch memory) {
        return _batches[batchKey];
    }

    function _commit(Commit calldata c, bytes calldata nodeSig) private {
        Job storage j = _jobs[c.jobKey];
        Batch storage b = _batches[c.batchKey];
        // INVARIANT: a batchKey is committed once, so a node cannot commit again until the draw suits it.
        if (b.state != BatchState.None) revert BatchExists(c.batchKey);
        _requireOpen(c.jobKey, j);
        // INVARIANT: after the deadline no money is promised any more.
        if (block.timestamp > j.deadline) revert DeadlinePassed(j.deadline);
        // INVARIANT: a batch has receipts, and not more than one draw can speak for.
        if (c.count == 0 || c.count > MAX_BATCH_COUNT) revert CountOutOfRange(c.count);
        uint256 highest = uint256(c.count) * j.maxTaskPrice;
        // INVARIANT: no task costs more than the requester signed.
        if (c.amount > highest) revert AboveMaxTaskPrice(c.amount, highest);
        // INVARIANT: nothing is promised twice.
        if (c.amount > j.free) revert AboveFreeMoney(c.amount, j.free);
        _requireSigner(
            c.node,
            keccak256(abi.encode(COMMIT_TYPEHASH, c.jobKey, c.batchKey, c.node, c.root, c.count, c.amount)),
            nodeSig
        );

        j.free -= c.amount;
        j.reserved += c.amount;
        b.jobKey = c.jobKey;
        b.node = c.node;
        b.amount = c.amount;
        b.root = c.root;
        b.commitBlock = uint64(block.number);
        b.committedAt = uint40(block.timestamp);
        b.count = c.count;
        b.state = BatchState.Committed;
        emit Committed(c.batchKey, c.jobKey, c.node, c.root, c.count, c.amount);
    }

    function _settle(bytes32 batchKey) private {
        Batch storage b = _batches[batchKey];
        // INVARIANT: money moves once, and only after a verdict.
        _requireState(batchKey, b, BatchState.Attested);
        b.state = BatchState.Settled;
        Job storage j = _jobs[b.jobKey];
        uint96 amount = b.amount;
        if (b.outcome == PASS) {
            j.reserved -= amount;
            j.released += amount;
            credit[b.node] += amount;
        } else {
            _giveBack(j, amount);
        }
        emit Settled(batchKey, b.outcome, amount);
    }

    /// @dev Reserved money that no node earned: free again, or the requester's when the job is closed.
    function _giveBack(Job storage j, uint96 amount) private {
        j.reserved -= amount;
        if (j.state == JobState.Open) {
            j.free += amount;
        } else {
            j.refunded += amount;
            credit[j.requester] += amount;
        }
    }

    function _withdraw(address owner) private nonReentrant {
        uint256 amount = credit[owner];
        // INVARIANT: a withdrawal that moves nothing is a mistake of the caller.
        if (amount == 0) revert NothingToWithdraw(owner);
        credit[owner] = 0;
        emit Withdrawn(owner, amount);
        token.safeTransfer(owner, amount);
    }

    /// @dev The hash the seed hangs on, or 0 when the chain no longer has it.
    function _anchorHash(Batch storage b) private view returns (bytes32) {
        uint256 anchor = uint256(b.commitBlock) + 1;
        // INVARIANT: the seed hangs on a block that did not exist when the root was committed.
        if (block.number <= anchor) revert DrawTooEarly(block.number, anchor + 1);
        return blockhash(anchor);
    }

    function _reanchor(bytes32 batchKey, Batch storage b) private {
        b.commitBlock = uint64(block.number);
        // Saturates: the count is for people to see, and must never stand in the way of a draw.
        if (b.reanchors != type(uint16).max) b.reanchors += 1;
        emit Reanchored(batchKey, b.commitBlock);
    }

    function _requireCoordinator() private view {
        // INVARIANT: only the coordinator, who leased the tasks, brings commits.
        if (msg.sender != coordinator) revert NotCoordinator(msg.sender);
    }

    function _requireOpen(bytes32 jobKey, Job storage j) private view {
        // INVARIANT: a job that was never opened or is closed promises and returns nothing more.
        if (j.state != JobState.Open) revert JobNotOpen(jobKey, j.state);
    }

    function _requireState(bytes32 batchKey, Batch storage b, BatchState expected) private view {
        // INVARIANT: a batch goes through its states in order.
        if (b.state != expected) revert WrongBatchState(batchKey, expected, b.state);
    }

    function _requireSigner(address expected, bytes32 structHash, bytes calldata signature) private view {
        (address recovered,,) = ECDSA.tryRecover(_hashTypedDataV4(structHash), signature);
        // INVARIANT: nobody speaks for somebody else; a broken signature recovers to zero, which is never expected.
        if (recovered == address(0) || recovered != expected) revert WrongSigner(expected, recovered);
    }
}
