// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {INodeRegistry} from "../../INodeRegistry.sol";
import {IRenderEscrow} from "../../IRenderEscrow.sol";
import {NodeRegistry} from "../../NodeRegistry.sol";
import {Fold} from "./Fold.sol";

/// @dev EIP-712 from the text of the standard, so that it does not repeat the contracts' mistakes.
abstract contract Signer is Fold {
    NodeRegistry internal registry;

    function keyFor(address signer) internal view virtual returns (uint256);

    function sign(address signer, bytes32 digest) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(keyFor(signer), digest);
        return abi.encodePacked(r, s, v);
    }

    function domain(string memory name, string memory version, address contract_) internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256(bytes(name)),
                keccak256(bytes(version)),
                block.chainid,
                contract_
            )
        );
    }

    function digestOf(bytes32 domain_, bytes32 structHash) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domain_, structHash));
    }

    function escrowDigest(bytes32 structHash) internal view returns (bytes32) {
        return digestOf(domain("Tessera RenderEscrow", "2", address(escrow)), structHash);
    }

    function registryDigest(bytes32 structHash) internal view returns (bytes32) {
        return digestOf(domain("Tessera NodeRegistry", "1", address(registry)), structHash);
    }

    function openDigest(IRenderEscrow.OpenJob memory o) internal view returns (bytes32) {
        return escrowDigest(
            keccak256(
                abi.encode(
                    keccak256("OpenJob(address requester,bytes32 jobKey,uint96 budget,uint96 maxTaskPrice,uint40 deadline)"),
                    o
                )
            )
        );
    }

    function commitDigest(IRenderEscrow.Commit memory c) internal view returns (bytes32) {
        return escrowDigest(
            keccak256(
                abi.encode(
                    keccak256("Commit(bytes32 jobKey,bytes32 batchKey,bytes32 root,uint16 count,uint96 amount)"), c
                )
            )
        );
    }

    function verdictDigest(IRenderEscrow.Verdict memory v) internal view returns (bytes32) {
        return escrowDigest(
            keccak256(
                abi.encode(keccak256("Verdict(bytes32 batchKey,bytes32 seed,uint8 outcome,bytes32 evidence)"), v)
            )
        );
    }

    function disputeDigest(IRenderEscrow.Dispute memory d) internal view returns (bytes32) {
        return escrowDigest(
            keccak256(
                abi.encode(keccak256("Dispute(bytes32 batchKey,bytes32 seed,address disputer,uint96 bond)"), d)
            )
        );
    }

    function nodeDigest(INodeRegistry.NodeTerms memory t) internal view returns (bytes32) {
        return registryDigest(
            keccak256(
                abi.encode(
                    keccak256("NodeTerms(address node,address operator,bytes32 deviceClass,uint96 ask,uint64 nonce)"), t
                )
            )
        );
    }

    function stakeDigest(INodeRegistry.StakeTerms memory t) internal view returns (bytes32) {
        return registryDigest(
            keccak256(abi.encode(keccak256("StakeTerms(address operator,uint96 amount,uint64 nonce)"), t))
        );
    }

    function verifierDigest(INodeRegistry.VerifierTerms memory t) internal view returns (bytes32) {
        return registryDigest(
            keccak256(
                abi.encode(keccak256("VerifierTerms(address verifier,address operator,bytes32 head,uint64 nonce)"), t)
            )
        );
    }

    function word(address signer, bytes32 key, bytes32 seed, uint8 outcome)
        internal
        view
        returns (IRenderEscrow.Word memory)
    {
        bytes32 evidence = keccak256(abi.encode(key, signer, outcome));
        return IRenderEscrow.Word(
            outcome, evidence, sign(signer, verdictDigest(IRenderEscrow.Verdict(key, seed, outcome, evidence)))
        );
    }
}
