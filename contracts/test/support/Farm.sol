// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {INodeRegistry} from "../../INodeRegistry.sol";
import {IRenderEscrow} from "../../IRenderEscrow.sol";
import {NodeRegistry} from "../../NodeRegistry.sol";
import {Permit} from "../../Permit.sol";
import {RenderEscrow} from "../../RenderEscrow.sol";
import {TestToken} from "../../TestToken.sol";
import {Signer} from "./Signer.sol";

/// @dev The contracts with their people: a requester, a coordinator, nodes with operators, verifiers with operators.
abstract contract Farm is Signer {
    uint8 internal constant PASS = 1;
    uint8 internal constant FAIL = 2;
    uint8 internal constant UNCLEAR = 3;
    uint96 internal constant UNIT = 1e6;
    uint96 internal constant STAKE = 100 * UNIT;
    uint96 internal constant MIN_STAKE = 50 * UNIT;
    uint16 internal constant FEE_BPS = 250;
    uint40 internal constant DAY = 1 days;
    uint256 internal constant SECRETS = 160;

    IERC20 internal token;
    AccessManager internal manager;
    address internal admin = address(0xAD);
    address internal coordinator = address(0xC0);
    address internal treasury = address(0x7E);
    address internal stranger = address(0x57);
    address internal requester;
    uint256 internal requesterKey = 0x1001;
    uint256[] internal nodeKeys;
    address[] internal nodes;
    /// @dev Operator of each node, by its place; the first is its own.
    address[] internal owners;
    uint256[] internal ownerKeys;
    address[] internal verifiers;
    mapping(address => uint256) internal keyOf;
    mapping(bytes32 head => bytes32) internal preimageOf;
    /// @dev Next generation of each lane.
    mapping(uint256 nodeAndLane => uint64) internal generation;
    bytes32 internal constant JOB = keccak256("job");
    uint256 private _rootCount;

    function terms() internal pure virtual returns (IRenderEscrow.Terms memory) {
        return IRenderEscrow.Terms({
            verdictWindow: 1 hours,
            disputeWindow: 1 days,
            committeeWindow: 2 days,
            expireWindow: 7 days,
            drawBlocks: 128,
            missPenalty: UNIT / 10,
            verifierPenalty: 10 * UNIT,
            disputeBond: UNIT,
            slashFactor: 10
        });
    }

    function makeToken() internal virtual returns (IERC20) {
        return IERC20(address(new TestToken(address(this))));
    }

    function mint(address to, uint256 amount) internal virtual {
        TestToken(address(token)).mint(to, amount);
    }

    function setUp() public virtual {
        vm.warp(1_700_000_000);
        vm.roll(1_000);
        token = makeToken();
        manager = new AccessManager(admin);
        registry = new NodeRegistry(token, MIN_STAKE, 1 days, 30 days);
        escrow = new RenderEscrow(token, registry, address(manager), coordinator, treasury, FEE_BPS, terms());
        registry.setEscrow(address(escrow));
        requester = vm.addr(requesterKey);
        keyOf[requester] = requesterKey;
        mint(requester, 1e6 * UNIT);
        vm.prank(requester);
        token.approve(address(escrow), type(uint256).max);
        vm.recordLogs();
    }

    /// @dev A node; its operator is itself, or an account of its own.
    function addNode(bool own, uint96 stake) internal returns (address node) {
        uint256 key = 0x20000 + nodes.length;
        uint256 ownerKey = own ? key : 0x30000 + nodes.length;
        node = vm.addr(key);
        address owner = vm.addr(ownerKey);
        keyOf[node] = key;
        keyOf[owner] = ownerKey;
        nodeKeys.push(key);
        nodes.push(node);
        owners.push(owner);
        ownerKeys.push(ownerKey);
        registerNode(node, owner);
        if (stake != 0) putDown(owner, stake);
    }

    function registerNode(address node, address owner) internal {
        INodeRegistry.NodeTerms memory t =
            INodeRegistry.NodeTerms(node, owner, keccak256("cpu-avx2"), 5, registry.nonces(owner));
        registry.registerNode(t, sign(owner, nodeDigest(t)), sign(node, nodeDigest(t)));
    }

    function putDown(address owner, uint96 amount) internal {
        mint(owner, amount);
        vm.prank(owner);
        token.approve(address(registry), type(uint256).max);
        vm.prank(owner);
        registry.stake(amount, noPermit());
    }

    /// @dev A verifier of an operator of its own, in the list.
    function addVerifier() internal returns (address verifier) {
        uint256 ownerKey = 0x50000 + verifiers.length;
        keyOf[vm.addr(ownerKey)] = ownerKey;
        putDown(vm.addr(ownerKey), STAKE);
        return addVerifierOf(vm.addr(ownerKey));
    }

    function addVerifierOf(address owner) internal returns (address verifier) {
        uint256 key = 0x40000 + verifiers.length;
        verifier = vm.addr(key);
        keyOf[verifier] = key;
        verifiers.push(verifier);
        join(verifier, owner, newHead());
        vm.warp(vm.getBlockTimestamp() + registry.joinDelay());
        registry.activateVerifier(verifier);
        vm.roll(vm.getBlockNumber() + 1);
    }

    function join(address verifier, address owner, bytes32 head) internal {
        INodeRegistry.VerifierTerms memory t =
            INodeRegistry.VerifierTerms(verifier, owner, head, registry.nonces(owner));
        registry.joinVerifier(t, sign(owner, verifierDigest(t)));
    }

    function newHead() internal returns (bytes32 head) {
        head = keccak256(abi.encode("root", _rootCount++));
        for (uint256 i = 0; i < SECRETS; i++) {
            bytes32 next = keccak256(abi.encode(head));
            preimageOf[next] = head;
            head = next;
        }
    }

    function noPermit() internal pure returns (Permit memory p) {}

    function openJob(bytes32 key, uint96 budget, uint96 maxTaskPrice, uint40 deadline) internal {
        IRenderEscrow.OpenJob memory o = IRenderEscrow.OpenJob(requester, key, budget, maxTaskPrice, deadline);
        escrow.openJob(o, sign(requester, openDigest(o)), noPermit());
    }

    function openJob() internal {
        openJob(JOB, 1000 * UNIT, UNIT, uint40(vm.getBlockTimestamp()) + 30 * DAY);
    }

    function keyFor(address signer) internal view override returns (uint256) {
        return keyOf[signer];
    }

    function nextKey(address node, uint32 lane) internal returns (bytes32) {
        uint256 nodeAndLane = (uint256(uint160(node)) << 32) | lane;
        return bytes32((nodeAndLane << 64) | ++generation[nodeAndLane]);
    }

    function commitTerms(bytes32 job, bytes32 key, uint96 amount)
        internal
        pure
        returns (IRenderEscrow.Commit memory)
    {
        return IRenderEscrow.Commit(job, key, keccak256(abi.encode("root of", key)), 64, amount);
    }

    function commit(address node, uint32 lane, uint96 amount) internal returns (bytes32 key) {
        key = nextKey(node, lane);
        IRenderEscrow.Commit memory c = commitTerms(JOB, key, amount);
        bytes memory signature = sign(node, commitDigest(c));
        vm.prank(coordinator);
        escrow.commit(c, signature);
        fold();
        check(key);
    }

    function draw(bytes32 key) internal {
        if (block.number < batchOf(key).anchor + 2) vm.roll(batchOf(key).anchor + 2);
        bytes32 secret = preimageOf[registry.headOf(escrow.drawerOf(key, batchOf(key)))];
        vm.prank(coordinator);
        escrow.draw(key, batchOf(key), secret);
        fold();
        check(key);
    }

    /// @dev The word of whom it is asked of.
    function attest(bytes32 key, uint8 outcome) internal {
        address asked = stateOf(key) == IRenderEscrow.BatchState.Second ? batchOf(key).second : batchOf(key).verifier;
        escrow.attest(key, batchOf(key), word(asked, key, batchOf(key).seed, outcome));
        fold();
        check(key);
    }

    /// @dev So many members of the committee say so.
    function vote(bytes32 key, uint8 outcome, uint256 count) internal {
        escrow.attestCommittee(key, batchOf(key), membersOf[key], outcome, votes(key, outcome, count));
        fold();
        check(key);
    }

    function votes(bytes32 key, uint8 outcome, uint256 count) internal view returns (IRenderEscrow.Vote[] memory list) {
        list = new IRenderEscrow.Vote[](count);
        for (uint256 i = 0; i < count; i++) {
            IRenderEscrow.Word memory w = word(membersOf[key][i], key, batchOf(key).seed, outcome);
            list[i] = IRenderEscrow.Vote(uint8(i), w.evidence, w.signature);
        }
    }

    function disputeTerms(bytes32 key, address disputer) internal view returns (IRenderEscrow.Dispute memory) {
        return IRenderEscrow.Dispute(key, batchOf(key).seed, disputer, terms().disputeBond);
    }

    /// @dev By somebody with a bond in hand.
    function dispute(bytes32 key, address disputer) internal {
        mint(disputer, terms().disputeBond);
        vm.prank(disputer);
        token.approve(address(escrow), type(uint256).max);
        vm.prank(disputer);
        escrow.dispute(disputeTerms(key, disputer), batchOf(key), "", noPermit());
        fold();
        check(key);
    }

    function settle(bytes32 key) internal {
        (bytes32[] memory keys, IRenderEscrow.Batch[] memory list) = one(key);
        escrow.settle(keys, list);
        fold();
        check(key);
    }

    function settleLater(bytes32 key) internal {
        vm.warp(vm.getBlockTimestamp() + terms().disputeWindow);
        settle(key);
    }

    function one(bytes32 key) internal view returns (bytes32[] memory keys, IRenderEscrow.Batch[] memory list) {
        keys = new bytes32[](1);
        list = new IRenderEscrow.Batch[](1);
        (keys[0], list[0]) = (key, batchOf(key));
    }

    function ownerOf(address verifier) internal view returns (address) {
        return registry.operatorOf(verifier);
    }

    function stakeOf(address owner) internal view returns (uint96) {
        return registry.operatorInfo(owner).stake;
    }
}
