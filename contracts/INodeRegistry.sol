// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Permit} from "./Permit.sol";

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

    struct Operator {
        // slot 0
        uint96 stake; // bonded
        uint96 thawing; // on its way out, still slashable
        uint40 thawsAt; // unix seconds: when `thawing` can be taken out
        uint8 places; // in the verifiers' list, those included whose verifier has left and that are not free again yet
        uint8 active; // of these, with a verifier that can be asked
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
        uint32 place; // its place in the list plus one; 0: none. One that has left keeps it for LEAVE_BLOCKS
        // slot 1
        bytes32 head; // the next secret has to be its preimage; set once, then moved on by draws alone
    }

    /// @dev One slot, so that a draw reads one word for each verifier. The block numbers make the list of any recent block
    /// readable: who draws and who checks follows from the list as it was at a batch's anchor, and nobody can bend it
    /// by coming or going once the block is known that decides.
    struct Place {
        address verifier; // zero: free
        uint48 since; // block in which it was activated
        uint48 until; // block in which it left; 2^48 - 1 while it is there
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
    event EscrowSet(address escrow);

    error ZeroAddress();
    error ZeroAmount();
    error ZeroHead();
    error NotEscrow(address sender);
    error NotOperator(address sender, address operator);
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
    error TooManyVerifiers(uint256 most);
    error WrongHead(bytes32 head);
    error EscrowTaken(address escrow);
    error WrongEscrow(address escrow);
    error ThawTimeTooShort(uint256 thawTime, uint256 needed);

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

    /// @notice Registers a verifier key of an operator whose stake reaches `minVerifierStake` for each of its verifiers. It
    /// can be drawn once `activateVerifier` was called, `joinDelay` later. One that has left may join again with the head
    /// it has, once its old place is free. Anyone may relay it.
    function joinVerifier(VerifierTerms calldata terms, bytes calldata operatorSig) external;

    /// @notice Puts a verifier whose delay is over into the list that draws are made from. Anyone may.
    function activateVerifier(address verifier) external;

    /// @notice Takes a verifier out of the list: its operator, or anyone once the operator's stake is below the minimum for
    /// its verifiers. It stays answerable for draws of earlier blocks.
    function leaveVerifier(address verifier) external;

    /// @notice Once, by the deployer: the escrow that may slash. It has to have the same token, to name this registry, and
    /// the longest life of a batch in it has to be shorter than `thawTime`.
    function setEscrow(address escrow) external;

    /// @notice Escrow only: draws one as `pick` does, from the list as it was at `anchor`, and uses up its next secret.
    /// Reverts WrongPreimage; zero when there is nobody. The escrow's event tells the secret.
    function useSecret(bytes32 entropy, uint256 anchor, address operator, bytes32 preimage)
        external
        returns (address drawer);

    /// @notice Escrow only: takes up to `amount` of an operator's stake (bonded first, then thawing) and sends it to the
    /// escrow. Returns what was there to take; never reverts for want of stake.
    function slash(address operator, uint96 amount, bytes32 batchKey) external returns (uint96 taken);

    /// @notice Operator of a node and the stake it has bonded; zero address when the node is not registered.
    function standing(address node) external view returns (address operator, uint96 bonded);

    /// @notice The verifier that `entropy` draws from the list: of those that were activated in block `anchor` or before, had
    /// not left in block `there` or before, and are of none of the operators `a`, `b` and `c`, each as likely as the others. It is the one
    /// with the highest keccak256(abi.encode(entropy, verifier)), so that it does not change with who else comes or goes.
    /// Zero when there is none.
    function pick(bytes32 entropy, uint256 anchor, uint256 there, address a, address b, address c)
        external
        view
        returns (address verifier, address operator);

    /// @notice Up to `most` verifiers of as many operators, none of `a`, `b` and `c`, in the order in which the entropy draws
    /// them. Fewer when there are no more.
    function pickMany(bytes32 entropy, uint256 anchor, uint256 there, address a, address b, address c, uint256 most)
        external
        view
        returns (address[] memory verifiers);

    /// @notice Whether a verifier is in the list and has not left.
    function isActive(address verifier) external view returns (bool);

    /// @notice Whose it is, also after it left; zero when it never joined.
    function operatorOf(address verifier) external view returns (address);

    /// @notice All zero when it never staked or signed.
    function operatorInfo(address operator) external view returns (Operator memory);
    function nodeInfo(address node) external view returns (Node memory);
    function verifierInfo(address verifier) external view returns (Verifier memory);

    /// @notice Head of a verifier's secret chain: its next secret is the preimage.
    function headOf(address verifier) external view returns (bytes32);

    /// @notice The verifiers that can be asked now, in the order of the list.
    function verifiers() external view returns (address[] memory);

    /// @notice How many can be asked now.
    function verifierCount() external view returns (uint256);

    function nonces(address operator) external view returns (uint64);
}
