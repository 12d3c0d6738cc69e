// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {INodeRegistry} from "../INodeRegistry.sol";
import {Stakes} from "./Stakes.sol";

/// @title Node keys and whose they are
abstract contract Nodes is Stakes {
    bytes32 private constant NODE_TYPEHASH =
        keccak256("NodeTerms(address node,address operator,bytes32 deviceClass,uint96 ask,uint64 nonce)");

    // slot 4
    mapping(address node => Node) private _nodes;

    /// @inheritdoc INodeRegistry
    function registerNode(NodeTerms calldata terms, bytes calldata operatorSig, bytes calldata nodeSig) external {
        Node storage n = _nodes[terms.node];
        // INVARIANT: a node has one operator, and leaves it only when that operator lets it go.
        if (n.operator != address(0) && n.operator != terms.operator) revert NodeTaken(terms.node, n.operator);
        _useNonce(terms.operator, terms.nonce);
        bytes32 structHash = keccak256(
            abi.encode(NODE_TYPEHASH, terms.node, terms.operator, terms.deviceClass, terms.ask, terms.nonce)
        );
        _check(terms.operator, structHash, operatorSig);
        // INVARIANT: nobody is made the node of an operator it did not choose.
        if (terms.node != terms.operator) _check(terms.node, structHash, nodeSig);
        n.operator = terms.operator;
        n.ask = terms.ask;
        n.deviceClass = terms.deviceClass;
        emit NodeRegistered(terms.node, terms.operator, terms.deviceClass, terms.ask);
    }

    /// @inheritdoc INodeRegistry
    function removeNode(address node) external {
        address operator = _nodes[node].operator;
        // INVARIANT: there is something to remove.
        if (operator == address(0)) revert NodeUnknown(node);
        // INVARIANT: a node is let go by its operator alone.
        if (msg.sender != operator) revert NotOperator(msg.sender, operator);
        delete _nodes[node];
        emit NodeRemoved(node, operator);
    }

    /// @inheritdoc INodeRegistry
    function standing(address node) external view returns (address operator, uint96 bonded) {
        operator = _nodes[node].operator;
        if (operator != address(0)) bonded = _operators[operator].stake;
    }

    /// @inheritdoc INodeRegistry
    function nodeInfo(address node) external view returns (Node memory) {
        return _nodes[node];
    }
}
