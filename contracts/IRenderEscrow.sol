// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title What is signed, stored, announced and refused by RenderEscrow
/// @notice The life of a batch:
///
///   none -> committed -> drawn -> judged -> settled
///                          |        ^  |
///                          v        |  v  (a dispute)
///                        second -> committee
///
/// and from committed, drawn and second to expired, when nobody said anything in time.
///
/// A batch is kept as a hash of {Batch}: whoever moves it on passes the struct, which the events tell. Its key is
/// `node (160 bits) | lane (32) | generation (64)`. A node has as many lanes as it has batches under way; a lane
/// is used again by a later generation once its batch is settled, and a generation never twice.
interface IRenderEscrow {
    enum JobState {
        None,
        Open,
        Closed
    }

    enum BatchState {
        None,
        Committed,
        Drawn,
        Second,
        Committee,
        Judged,
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

    /// @notice An ERC-2612 permit. `deadline` 0 means none: the allowance is already there.
    struct Permit {
        uint256 value;
        uint256 deadline;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    /// @notice What a node signs. The node is the first 20 bytes of the key.
    struct Commit {
        bytes32 jobKey;
        bytes32 batchKey;
        bytes32 root;
        uint16 count;
        uint96 amount;
    }

    /// @notice What a verifier signs: first, second and committee alike. Outcome: 1 pass, 2 fail, 3 inconclusive.
    struct Verdict {
        bytes32 batchKey;
        bytes32 seed;
        uint8 outcome;
        bytes32 evidence;
    }

    /// @notice What somebody signs who puts a bond on a verdict being wrong. The seed ties it to this one draw.
    struct Dispute {
        bytes32 batchKey;
        bytes32 seed;
        address disputer;
        uint96 bond;
    }

    /// @notice A member's word in a committee.
    struct Vote {
        uint8 member; // its place in `Batch.panel`
        bytes32 evidence;
        bytes signature; // over the Verdict of this batch with the outcome that the call names
    }

    /// @dev funded = released + refunded + free + what the job's live batches reserve, after every call.
    struct Job {
        // slot 0: all that a commit touches
        uint96 free; // neither spent nor promised
        uint96 maxTaskPrice;
        uint40 deadline; // unix seconds
        uint16 live; // batches that are not settled
        JobState state; // 1 byte
        // slot 1
        address requester; // 20 bytes
        uint96 released; // credited for passed batches, fee included
        // slot 2
        uint96 funded; // everything that was ever put in
        uint96 refunded; // credited back to the requester
        uint16 feeBps; // of what a batch is paid; as it was when the job opened
    }

    /// @dev Not stored: its hash is, and the events have all of it. Zero where it does not apply yet.
    struct Batch {
        bytes32 jobKey;
        bytes32 root;
        bytes32 seed; // 0 until drawn
        address operator; // of the node, when it committed: paid and slashed
        uint96 amount;
        uint96 stake; // the operator's, when it committed: no more than this is ever slashed
        uint16 count;
        uint64 anchor; // block: the hash of the one after it goes into the seed
        uint40 committedAt; // unix seconds; the expiry counts from here
        uint40 since; // unix seconds: when the present state began
        uint8 state; // BatchState
        uint8 turns; // verifiers that were asked and said nothing in time
        address verifier; // who is asked first, from Drawn on
        address second; // who is asked after a verdict that is not a pass
        uint8 firstOutcome; // 0 until given
        uint8 secondOutcome;
        uint8 outcome; // 0 until Judged
        bool agreed; // outcome fail: by two verifiers or a committee, so it slashes
        bool last; // a committee has spoken: no dispute any more
        address disputer;
        uint96 bond;
        bytes32 panel; // keccak256(abi.encode(address[])) of the committee; 0 when there is none
    }

    event JobOpened(
        bytes32 indexed jobKey, address indexed requester, uint96 budget, uint96 maxTaskPrice, uint40 deadline, uint16 feeBps
    );
    event FundsAdded(bytes32 indexed jobKey, address indexed from, uint96 amount);
    event JobClosed(bytes32 indexed jobKey, uint96 refunded);

    // Each names all that it changes in the Batch: platform/chain/batch-fold.ts builds the struct from them.
    event Committed(
        bytes32 indexed batchKey,
        bytes32 indexed jobKey,
        address operator,
        bytes32 root,
        uint16 count,
        uint96 amount,
        uint96 stake,
        uint64 anchor,
        uint40 at
    );
    event Reanchored(bytes32 indexed batchKey, uint64 anchor, uint40 at, address missedBy);
    event Drawn(bytes32 indexed batchKey, bytes32 preimage, bytes32 blockHash, bytes32 seed, address verifier, uint40 at);
    event Replaced(bytes32 indexed batchKey, address silent, address verifier, uint8 turns, uint40 at);
    /// @param by who signed; `next` the second verifier when it is asked now, else zero
    event Attested(bytes32 indexed batchKey, address indexed by, uint8 outcome, bytes32 evidence, address next, uint40 at);
    event CommitteeCalled(bytes32 indexed batchKey, address[] members, address disputer, uint96 bond, uint40 at);
    event Voted(bytes32 indexed batchKey, address indexed by, uint8 outcome, bytes32 evidence);
    event Judged(bytes32 indexed batchKey, uint8 outcome, bool agreed, bool last, uint40 at);
    event Settled(bytes32 indexed batchKey, uint8 outcome, uint96 paid, uint96 fee, uint96 slashed);
    event Expired(bytes32 indexed batchKey, uint96 amount);
    event Withdrawn(address indexed owner, uint256 amount);

    error ZeroAddress();
    error NotCoordinator(address sender);
    error WrongSigner(address expected, address recovered);
    error JobExists(bytes32 jobKey);
    error JobNotOpen(bytes32 jobKey, JobState state);
    error BudgetZero();
    error DeadlinePassed(uint40 deadline);
    error DeadlineNotReached(uint40 deadline);
    error WrongAmountReceived(uint256 expected, uint256 received);
    error LengthMismatch(uint256 one, uint256 other);
    error NodeNotRegistered(address node);
    error LaneTaken(bytes32 batchKey, uint64 generation);
    error WrongBatch(bytes32 batchKey);
    error WrongBatchState(bytes32 batchKey, BatchState actual);
    error CountOutOfRange(uint16 count);
    error AboveMaxTaskPrice(uint256 amount, uint256 highest);
    error AboveFreeMoney(uint256 amount, uint256 free);
    error DrawTooEarly(uint256 blockNumber, uint256 earliest);
    error BlockHashGone(bytes32 batchKey);
    error DrawWindowOpen(uint256 until);
    error UnknownOutcome(uint8 outcome);
    error WindowOpen(uint256 until);
    error WindowClosed(uint256 since);
    error NoVerifierLeft(bytes32 batchKey);
    error CommitteeTooSmall(uint256 members);
    error NotDisputable(bytes32 batchKey);
    error WrongBond(uint96 needed, uint96 given);
    error WrongPanel(bytes32 panel);
    error TooFewVotes(uint256 votes, uint256 needed);
    error VoteRepeated(uint8 member);
    error FeeTooHigh(uint16 feeBps, uint16 most);
    error NothingToWithdraw(address owner);
}
