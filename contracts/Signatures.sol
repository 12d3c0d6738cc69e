// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title Whose signature it is
library Signatures {
    /// @dev What a contract may spend on its answer: enough for a wallet with several owners, too little to make a
    /// relayer's transaction run out of gas without the relayer's estimate showing it.
    uint256 internal constant ERC1271_GAS = 100_000;

    error WrongSigner(address expected, address recovered);

    /// @notice Reverts WrongSigner unless `expected` signed the digest: with its key, or, when it is a contract, by saying
    /// so (ERC-1271). The key comes first, so that an account that has both (EIP-7702) is never locked out by its code.
    function check(address expected, bytes32 digest, bytes calldata signature) internal view {
        (address recovered,,) = ECDSA.tryRecoverCalldata(digest, signature);
        // INVARIANT: a broken signature recovers to zero, which speaks for nobody.
        if (recovered != address(0) && recovered == expected) return;
        // INVARIANT: nobody speaks for somebody else.
        if (expected.code.length == 0 || !_contractSays(expected, digest, signature)) {
            revert WrongSigner(expected, recovered);
        }
    }

    /// @dev By hand for two limits that a high-level call has not: the gas, and how much of the answer is copied.
    function _contractSays(address signer, bytes32 digest, bytes calldata signature) private view returns (bool said) {
        bytes memory question = abi.encodeCall(IERC1271.isValidSignature, (digest, signature));
        bytes4 magic = IERC1271.isValidSignature.selector;
        uint256 gasCap = ERC1271_GAS;
        assembly ("memory-safe") {
            mstore(0x00, 0)
            let ok := staticcall(gasCap, signer, add(question, 0x20), mload(question), 0x00, 0x20)
            said := and(and(ok, gt(returndatasize(), 0x1f)), eq(mload(0x00), magic))
        }
    }
}
