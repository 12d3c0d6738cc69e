// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Permit} from "./Permit.sol";

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

    /// @notice The word of the verifier that is asked.
    struct Word {
        uint8 outcome;
        bytes32 evidence;
        bytes signature; // over the Verdict of this batch and this draw
    }

    /// @notice A member's word in a committee.
    struct Vote {
        uint8 member; // its place in `Batch.panel`
        bytes32 evidence;
        bytes signature; // over the Verdict of this batch with the outcome that the call names
    }

    /// @notice What is fixed when the contract is made. Times in seconds, money in token units.
    struct Terms {
        uint40 verdictWindow; // for a verifier to speak, before another is asked
        uint40 disputeWindow; // between a judgement and its settlement; 0: settled at once
        uint40 committeeWindow; // for a committee to speak
        uint40 expireWindow; // from the commit: later, a batch without a judgement can be given up
        uint16 drawBlocks; // for the drawer to show its secret; below 256, so that its silence can still be proved
        uint96 missPenalty; // for a secret or a word that did not come
        uint96 verifierPenalty; // for a word that a committee found wrong
        uint96 disputeBond;
        uint16 slashFactor; // a failed batch costs its operator so many times its amount
    }

    /// @dev One slot, so that a commit reads one word.
    struct Config {
        address coordinator;
        uint16 feeBps; // for jobs that open from now on
        bool paused;
    }

    /// @dev funded = released + refunded + free + what the job's live batches reserve, after every call.
    struct Job {
        // slot 0: all that a commit touches
        uint96 free; // neither spent nor promised
        uint88 maxTaskPrice; // narrower than the money it comes from, so that the fee fits; 3 * 10^26 is still a lot
        uint32 deadline; // unix seconds, until 2106
        uint16 feeBps; // of what a batch is paid; as it was when the job opened
        uint16 live; // batches that are not settled
        JobState state; // 1 byte
        // slot 1
        address requester; // 20 bytes
        uint96 funded; // everything that was ever put in
        // slot 2: nothing until money leaves, so that opening writes two slots
        uint96 released; // credited for passed batches, fee included
        uint96 refunded; // credited back to the requester
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

    // Each names all that it changes in the Batch: platform/chain/batch-fold.ts builds the struct from them. `since` is the
    // new one, always: when the batch came into the state that the event tells.
    event Committed(
        bytes32 indexed batchKey,
        bytes32 indexed jobKey,
        address operator,
        bytes32 root,
        uint16 count,
        uint96 amount,
        uint96 stake,
        uint64 anchor,
        uint40 since
    );
    event Reanchored(bytes32 indexed batchKey, uint64 anchor, uint40 since, address missedBy);
    event Drawn(bytes32 indexed batchKey, bytes32 preimage, bytes32 blockHash, bytes32 seed, address verifier, uint40 since);
    event Replaced(bytes32 indexed batchKey, address silent, address verifier, uint8 turns, uint40 since);
    /// @param by who signed; `next` the second verifier when it is asked now, else zero
    event Attested(bytes32 indexed batchKey, address indexed by, uint8 outcome, bytes32 evidence, address next, uint40 since);
    event CommitteeCalled(bytes32 indexed batchKey, address[] members, address disputer, uint96 bond, uint40 since);
    event Voted(bytes32 indexed batchKey, address indexed by, uint8 outcome, bytes32 evidence);
    /// @dev Where a committee ends (`last`): `bond` becomes 0, and `disputer` too unless `outcome` is another than the
    /// disputed one. `panel` stays.
    event Judged(bytes32 indexed batchKey, uint8 outcome, bool agreed, bool last, uint40 since);
    event Settled(bytes32 indexed batchKey, uint8 outcome, uint96 paid, uint96 fee, uint96 slashed);
    event Expired(bytes32 indexed batchKey, uint96 amount);
    event Withdrawn(address indexed owner, uint256 amount);
    event CoordinatorSet(address coordinator);
    event FeeSet(uint16 feeBps);
    event TreasurySet(address treasury);
    event PausedSet(bool paused);

    error ZeroAddress();
    error NotCoordinator(address sender);
    error JobExists(bytes32 jobKey);
    error JobNotOpen(bytes32 jobKey, JobState state);
    error BudgetZero();
    error DeadlinePassed(uint40 deadline);
    error DeadlineNotReached(uint40 deadline);
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
    error NoVerifierLeft(bytes32 batchKey);
    error CommitteeTooSmall(uint256 members);
    error NotDisputable(bytes32 batchKey);
    error WrongSeed(bytes32 seed);
    error WrongBond(uint96 needed, uint96 given);
    error WrongPanel(bytes32 panel);
    error TooFewVotes(uint256 votes, uint256 needed);
    error VoteRepeated(uint8 member);
    error FeeTooHigh(uint16 feeBps, uint16 most);
    error NothingToWithdraw(address owner);
    error Paused();
    error NotDrawer(address sender, address drawer);
    error TermsOutOfRange();

    /// @notice Opens a job with the requester's money, on terms the requester signed. Anyone may relay it.
    /// @dev Whoever relays first takes the jobKey: a relayer has to compare the terms of `job(jobKey)` with its own.
    function openJob(OpenJob calldata o, bytes calldata requesterSig, Permit calldata p) external;

    /// @notice Puts more of the sender's money into an open job. What is left over goes to the job's requester.
    function addFunds(bytes32 jobKey, uint96 amount, Permit calldata p) external;

    /// @notice Ends a job: what is not reserved goes back to the requester; batches under way still settle. The coordinator
    /// and the requester may at any time, anyone after the deadline.
    function closeJob(bytes32 jobKey) external;

    /// @notice Binds a node to the results of a batch and reserves its price. Coordinator only: a node is just a key, so
    /// otherwise any stranger could make one, sign for any job and lock its money until the batch expires.
    function commit(Commit calldata c, bytes calldata nodeSig) external;

    /// @notice Many commits, all or none.
    function commitMany(Commit[] calldata commits, bytes[] calldata nodeSigs) external;

    /// @notice Draws the seed of a batch from the drawer's next secret, a later block's hash and the batch's root, and asks the
    /// verifier that follows from it. By the drawer or the coordinator: a secret that is on its way could otherwise be
    /// taken by a stranger for a batch that it suits better.
    function draw(bytes32 batchKey, Batch calldata batch, bytes32 preimage) external;

    /// @notice Many draws in this order, all or none.
    function drawMany(bytes32[] calldata batchKeys, Batch[] calldata batches, bytes32[] calldata preimages) external;

    /// @notice Gives a batch a new anchor that was not drawn within `drawBlocks`. Anyone may. While the block's hash is to be
    /// had, whose secret was missing is known, and it loses `missPenalty`.
    function reanchor(bytes32 batchKey, Batch calldata batch) external;

    /// @notice The word of the verifier that is asked, first or second. Anyone may relay it.
    function attest(bytes32 batchKey, Batch calldata batch, Word calldata word) external;

    /// @notice Many words, all or none.
    function attestMany(bytes32[] calldata batchKeys, Batch[] calldata batches, Word[] calldata words) external;

    /// @notice Asks another verifier in place of one that was silent for `verdictWindow`, or that has left. Anyone may.
    function replace(bytes32 batchKey, Batch calldata batch) external;

    /// @notice Puts a bond on a judgement being wrong, before it is settled: a committee looks. By the disputer or with its
    /// signature.
    function dispute(Dispute calldata d, Batch calldata batch, bytes calldata signature, Permit calldata p) external;

    /// @notice The word of more than half of a committee, all of one outcome. Anyone may relay it.
    function attestCommittee(
        bytes32 batchKey,
        Batch calldata batch,
        address[] calldata members,
        uint8 outcome,
        Vote[] calldata votes
    ) external;

    /// @notice Ends a committee that said nothing within `committeeWindow`. Anyone may.
    function closeCommittee(bytes32 batchKey, Batch calldata batch) external;

    /// @notice Moves the money of judged batches, all or none. Anyone may.
    function settle(bytes32[] calldata batchKeys, Batch[] calldata batches) external;

    /// @notice Gives the money of a batch back that nobody judged within `expireWindow`. Anyone may.
    function expire(bytes32 batchKey, Batch calldata batch) external;

    /// @notice Pays the sender its credit.
    function withdraw() external;

    /// @notice Pays `owner` its credit, so that somebody else can pay the gas. It never goes anywhere else.
    function withdrawFor(address owner) external;

    /// @notice By the authority, after its delay. Openings, funds and commits stop; all else goes on.
    function setPaused(bool paused) external;

    /// @notice By the authority, after its delay.
    function setCoordinator(address coordinator) external;

    /// @notice By the authority, after its delay; for jobs that open later.
    function setFee(uint16 feeBps) external;

    /// @notice By the authority, after its delay: who gets fees from now on.
    function setTreasury(address treasury) external;

    /// @notice A job as it stands; state None when there is none.
    function job(bytes32 jobKey) external view returns (Job memory);

    /// @notice The word of the lane of a batch: the generation that ended there last (below 2^64), or
    /// keccak256(abi.encode(batchKey, Batch)) of the batch that is under way.
    function lane(bytes32 batchKey) external view returns (bytes32);

    /// @notice Whose secret draws this batch. Zero while that is not known, when the block's hash is gone, and when there is
    /// nobody.
    function drawerOf(bytes32 batchKey, Batch calldata batch) external view returns (address);

    /// @notice What an account can withdraw.
    function credit(address owner) external view returns (uint256);

    function terms() external view returns (Terms memory);
    function config() external view returns (Config memory);
    function treasury() external view returns (address);

    /// @notice The longest time from a commit to its settlement when everybody acts in time: how long stake has to be held.
    function longestLife() external view returns (uint256);
}
