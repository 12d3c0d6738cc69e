// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title What is signed, stored, announced and refused by RenderEscrow
/// @notice The life of a batch: committed -> drawn -> attested -> settled, or expired when no verdict comes.
interface IFirstEscrow {
    enum JobState {
        None,
        Open,
        Closed
    }

    enum BatchState {
        None,
        Committed,
        Drawn,
        Attested,
        Settled,
        Expired
    }

    /// @notice What a requester signs.
    struct OpenJob {
        address requester;
        bytes32 jobKey;
        uint96 budget;
        uint96 maxTaskPrice;
        uint40 deadline;
    }

    /// @notice An ERC-2612 permit of the requester. `deadline` 0 means none: the allowance is already there.
    struct Permit {
        uint256 value;
        uint256 deadline;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    /// @notice What a node signs.
    struct Commit {
        bytes32 jobKey;
        bytes32 batchKey;
        address node;
        bytes32 root;
        uint16 count;
        uint96 amount;
    }

    /// @notice What a verifier signs. Outcome: 1 pass, 2 fail, 3 inconclusive.
    struct Verdict {
        bytes32 batchKey;
        uint8 outcome;
        bytes32 evidence;
    }

    /// @dev funded = released + refunded + free + reserved, after every call.
    struct Job {
        // slot 0
        address requester; // 20 bytes
        uint96 funded; // 12 bytes: what was pulled when the job opened, never changed
        // slot 1
        uint96 free; // 12 bytes: neither spent nor promised
        uint96 reserved; // 12 bytes: promised to batches that are not settled
        uint40 deadline; // 5 bytes: unix seconds
        JobState state; // 1 byte
        // slot 2
        uint96 maxTaskPrice; // 12 bytes
        uint96 released; // 12 bytes: credited to nodes
        // slot 3
        uint96 refunded; // 12 bytes: credited back to the requester
    }

    struct Batch {
        // slot 0
        bytes32 jobKey;
        // slot 1
        address node; // 20 bytes
        uint96 amount; // 12 bytes
        // slot 2
        bytes32 root;
        // slot 3
        uint64 commitBlock; // 8 bytes: the hash of the block after it goes into the seed
        uint40 committedAt; // 5 bytes: unix seconds, start of the verdict window
        uint16 count; // 2 bytes
        uint16 reanchors; // 2 bytes: how often the draw came too late
        BatchState state; // 1 byte
        uint8 outcome; // 1 byte: 0 until attested
        // slot 4
        bytes32 seed;
        // slot 5
        bytes32 evidence;
    }

    event JobOpened(bytes32 indexed jobKey, address indexed requester, uint96 budget, uint96 maxTaskPrice, uint40 deadline);
    event Committed(bytes32 indexed batchKey, bytes32 indexed jobKey, address indexed node, bytes32 root, uint16 count, uint96 amount);
    event Drawn(bytes32 indexed batchKey, bytes32 preimage, bytes32 blockHash, bytes32 seed);
    event Reanchored(bytes32 indexed batchKey, uint64 commitBlock);
    event Attested(bytes32 indexed batchKey, uint8 outcome, bytes32 evidence);
    event Settled(bytes32 indexed batchKey, uint8 outcome, uint96 amount);
    event Expired(bytes32 indexed batchKey, uint96 amount);
    event JobClosed(bytes32 indexed jobKey, uint96 refunded);
    event Withdrawn(address indexed owner, uint256 amount);

    error ZeroAddress();
    error ZeroHead();
    error NotCoordinator(address sender);
    error WrongSigner(address expected, address recovered);
    error JobExists(bytes32 jobKey);
    error JobNotOpen(bytes32 jobKey, JobState state);
    error BudgetZero();
    error DeadlinePassed(uint40 deadline);
    error DeadlineNotReached(uint40 deadline);
    error WrongAmountReceived(uint256 expected, uint256 received);
    error LengthMismatch(uint256 commits, uint256 signatures);
    error BatchExists(bytes32 batchKey);
    error WrongBatchState(bytes32 batchKey, BatchState expected, BatchState actual);
    error CountOutOfRange(uint16 count);
    error AboveMaxTaskPrice(uint256 amount, uint256 highest);
    error AboveFreeMoney(uint256 amount, uint256 free);
    error DrawTooEarly(uint256 blockNumber, uint256 earliest);
    error BlockHashStillThere(bytes32 batchKey);
    error WrongPreimage(bytes32 head);
    error UnknownOutcome(uint8 outcome);
    error VerdictWindowOpen(uint256 until);
    error NothingToWithdraw(address owner);
}
