// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title Who renders and who checks: operators, their stake, their node keys and their verifiers
/// @notice An operator is an account that owns nodes and verifiers and answers for them with its stake. Stake that is
/// being withdrawn stays slashable until its thawing is over, which takes longer than the longest dispute.
interface INodeRegistry {
    /// @notice What a node signs to belong to an operator. An operator that is its own node signs it, too.
    struct NodeTerms {
        address node;
        address operator;
        bytes32 deviceClass; // keccak256 of the class's name, `cpu-avx2`; what a person reads is in the event
        uint96 ask; // token units for one reference second
        uint64 nonce; // of the operator: see `nonces`
    }

    /// @notice What an operator signs to have stake put down for it, so that somebody else can pay the gas.
    struct StakeTerms {
        address operator;
        uint96 amount;
        uint64 nonce;
    }

    /// @notice What an operator signs to have one of its keys check others' work.
    struct VerifierTerms {
        address verifier;
        address operator;
        bytes32 head; // of the verifier's secret hash chain: platform/chain/secret-chain.ts
        uint64 nonce;
    }

    /// @notice An ERC-2612 permit for the registry. `deadline` 0 means none: the allowance is already there.
    struct Permit {
        uint256 value;
        uint256 deadline;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    struct Operator {
        // slot 0
        uint96 stake; // bonded
        uint96 thawing; // on its way out, still slashable
        uint40 thawsAt; // unix seconds: when `thawing` can be taken out
        // slot 1
        uint64 nonce; // of the operator's next signature
    }

    struct Node {
        // slot 0
        address operator; // zero: not registered
        uint96 ask;
        // slot 1
        bytes32 deviceClass;
    }

    struct Verifier {
        // slot 0
        address operator; // zero: never registered
        uint40 activeFrom; // unix seconds: when it may be activated
        uint32 place; // its place in the list plus one; 0: not in the list
        // slot 1
        bytes32 head; // the next secret has to be its preimage; set once, then moved on by draws alone
    }

    event NodeRegistered(address indexed node, address indexed operator, bytes32 deviceClass, uint96 ask);
    event NodeRemoved(address indexed node, address indexed operator);
    event Staked(address indexed operator, uint96 amount);
    event Thawing(address indexed operator, uint96 amount, uint40 thawsAt);
    event Unstaked(address indexed operator, uint96 amount);
    event Slashed(address indexed operator, uint96 amount, bytes32 indexed batchKey);
    event VerifierJoined(address indexed verifier, address indexed operator, bytes32 head, uint40 activeFrom);
    event VerifierActivated(address indexed verifier);
    event VerifierLeft(address indexed verifier);
    event SecretUsed(address indexed verifier, bytes32 preimage);

    error ZeroAddress();
    error ZeroAmount();
    error ZeroHead();
    error NotEscrow(address sender);
    error NotOperator(address sender, address operator);
    error WrongSigner(address expected, address recovered);
    error WrongNonce(uint64 expected, uint64 given);
    error NodeTaken(address node, address operator);
    error NodeUnknown(address node);
    error VerifierTaken(address verifier);
    error VerifierUnknown(address verifier);
    error VerifierActive(address verifier);
    error VerifierNotYet(address verifier, uint40 activeFrom);
    error StakeTooSmall(uint256 stake, uint256 needed);
    error StillThawing(uint40 thawsAt);
    error WrongPreimage(bytes32 head);
    error WrongAmountReceived(uint256 expected, uint256 received);
    error TooManyVerifiers(uint256 most);
    error NoVerifier();

    /// @notice Registers a node key, or changes its class and ask. Anyone may relay it.
    /// @param operatorSig the operator's signature over the terms
    /// @param nodeSig the node's over the same terms; ignored where node and operator are one
    function registerNode(NodeTerms calldata terms, bytes calldata operatorSig, bytes calldata nodeSig) external;

    /// @notice Takes a node key out; batches under way are not touched. Only its operator.
    function removeNode(address node) external;

    /// @notice Puts down stake of the sender.
    function stake(uint96 amount, Permit calldata permit) external;

    /// @notice Puts down stake of an operator that signed for it. Anyone may relay it.
    function stakeFor(StakeTerms calldata terms, bytes calldata operatorSig, Permit calldata permit) external;

    /// @notice Begins to take stake out. A second call adds to what is thawing, and all of it waits the full time anew.
    function thaw(uint96 amount) external;

    /// @notice Pays out what has thawed. Anyone may call it for the operator; the money goes to the operator.
    function unstake(address operator) external;

    /// @notice Registers a verifier key of an operator whose stake reaches `minVerifierStake`. It can be drawn once
    /// `activateVerifier` was called, `joinDelay` later. Anyone may relay it.
    function joinVerifier(VerifierTerms calldata terms, bytes calldata operatorSig) external;

    /// @notice Puts a verifier whose delay is over into the list that draws are made from. Anyone may.
    function activateVerifier(address verifier) external;

    /// @notice Takes a verifier out of the list: its operator, or anyone once the operator's stake is below the minimum.
    function leaveVerifier(address verifier) external;

    /// @notice Escrow only: the verifier's next secret. Reverts WrongPreimage.
    function useSecret(address verifier, bytes32 preimage) external;

    /// @notice Escrow only: takes up to `amount` of an operator's stake (bonded first, then thawing) and sends it to the
    /// escrow. Returns what was there to take; never reverts for want of stake.
    function slash(address operator, uint96 amount, bytes32 batchKey) external returns (uint96 taken);

    /// @notice Operator of a node and the stake it has bonded; zero address when the node is not registered.
    function standing(address node) external view returns (address operator, uint96 bonded);

    /// @notice A verifier of the list, chosen by `entropy` alone: the one at `entropy % count`, or the next after it that
    /// is not of one of `operators`.
    function pick(bytes32 entropy, address[] calldata operators) external view returns (address verifier, address operator);

    /// @notice Up to `most` verifiers of as many operators, none of `operators`, in the order in which the entropy draws
    /// them. Fewer when there are no more.
    function pickMany(bytes32 entropy, address[] calldata operators, uint256 most)
        external
        view
        returns (address[] memory verifiers);

    function operatorOf(address verifier) external view returns (address);
    function verifierCount() external view returns (uint256);
    function nonces(address operator) external view returns (uint64);
}
